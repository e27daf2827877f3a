"""The files of results/ that `study record` copies: one per curve."""

from study.investigations.stability.facts import FOLDER, load_curve

FILES = (f"{FOLDER}/*.json",)
load = load_curve
