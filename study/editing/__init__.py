"""Changes to params.yaml and claims.yaml: new arms, claims, archive, commits."""
