"""Runs followed step by step, and steps repeated from a stored checkpoint."""
