"""Figures, one per file: each function returns a `Drawing`, or a sentence that replaces it if
its artifacts are not stored here."""
