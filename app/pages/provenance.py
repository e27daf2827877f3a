"""Provenance: which stage is fresh, what is not pulled, what it was made with."""

from app import frame

frame.enter("Provenance", "Which stage is fresh, what is not pulled, what it was made with.")
