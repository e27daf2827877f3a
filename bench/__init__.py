"""Benchmarks: every goal of speed as a figure that is measured here and now.

    python -m bench            all of them (`make bench`), into bench/latest.json
    python -m bench C1 C3      some
    python -m bench.scaling    no goal: what more patterns and more runs cost

Rules
- Correctness is asserted first: a fast wrong answer is not a figure.
- A ratio compares two codes in one process, turn by turn, and is the median over the rounds.
- Time is the CPU time of what works: other processes take turns, not time. Only what somebody waits
  for, a command or a page, is taken by the clock.
- What this machine cannot measure has no value, and the reason is in its place.
"""
