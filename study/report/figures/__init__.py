"""Figures, one per file: each makes a `Drawing` from the inputs, or returns the sentence that
replaces it if its artifacts are not stored here."""
