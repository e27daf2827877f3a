"""Figures, one per file: each takes what was gathered and gives a `Drawing`, or the sentence that
replaces it when its artifacts are not stored here."""
