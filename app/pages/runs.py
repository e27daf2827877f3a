"""Runs: what is queued, runs, ended, and why."""

from app import frame

frame.enter("Runs", "What is queued, runs, ended, and why.")
