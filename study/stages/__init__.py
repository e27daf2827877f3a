"""The stages of dvc.yaml: simulate, fingerprint, train, evaluate, findings. One file per stage.

All functions work in the folder of a pipeline (`.`, `full`), given as `root`; the command line only
calls them.
"""
