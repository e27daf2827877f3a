"""The stages of dvc.yaml: simulate, fingerprint, train, evaluate, findings. One file per stage.

Every function works in the folder of its pipeline (`.`, `full`), given as `root`; the command line
is a thin door to them.
"""
