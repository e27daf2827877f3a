"""Sections of the report, one a file: each takes what was gathered and gives blocks."""
