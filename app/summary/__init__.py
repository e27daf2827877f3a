"""The Summary page: the headline findings of claims.yaml and the images committed to git."""
