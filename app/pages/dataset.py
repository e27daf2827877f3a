"""Data set: what was measured or simulated, and who uses it."""

from app import frame

frame.enter("Data set", "What was measured or simulated, and who uses it.")
