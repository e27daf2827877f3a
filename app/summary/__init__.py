"""What Summary shows: the findings that claims.yaml puts first, and pictures that are in git."""
