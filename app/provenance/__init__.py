"""The Provenance page: up-to-date stages, missing outputs, and the origin of each result."""
