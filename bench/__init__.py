"""Benchmarks: every goal of speed as a figure that is measured here and now.

    python -m bench            all of them (`make bench`), into bench/latest.json
    python -m bench C1 C3      some

Rules
- Correctness is asserted first: a fast wrong answer is no figure.
- A ratio compares two codes in one process, turn by turn, and is the median over the rounds.
- Time is the CPU time of the one thread that works: other processes take turns, not time.
- What this machine cannot measure has no value, and the reason stands in its place.
"""
