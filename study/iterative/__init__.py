"""Rows of the table that are no networks: flat, oracle, back-projection, and rPIE."""
