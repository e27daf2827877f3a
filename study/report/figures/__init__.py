"""Figures, one a file: each takes what was gathered and gives a `Drawing`, or the sentence that
stands in its place when its artifacts are not stored here."""
