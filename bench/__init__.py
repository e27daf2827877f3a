"""Benchmarks: measure all performance goals on this machine.

    python -m bench            all goals (`make bench`), written to bench/latest.json
    python -m bench C1 C3      some goals
    python -m bench.scaling    cost against the number of patterns and of runs (no goals)

Rules
- Correctness is asserted before anything is timed.
- A ratio compares two programs that alternate in rounds, and is the median over the rounds.
- Computations are measured in CPU time, which other processes hardly affect. Waiting times of a
  user (commands, pages) are measured in wall time.
- A figure that cannot be measured on this machine has a reason instead of a value.
"""
