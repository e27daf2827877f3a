"""Failures: which arms fail, how long their runs survive, and in which layers units die."""
