"""The page "Provenance": what is fresh, what is not here, what made each result."""
