"""Rows of the table that are not networks: flat, oracle, back-projection, and rPIE."""
