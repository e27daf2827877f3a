"""Stored outputs: what dvc.lock records, the cache, and remotes."""
