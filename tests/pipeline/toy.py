"""A toy clone: the files of this checkout with four tiny rows, driven by the real `dvc repro`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

PARAMS = """
data:
  toy:
    {n: 16, object_px: 48, canvas_px: 128, lines: 65, phase: true, images_per_split: 1,
     group_size: 1, photons_per_pattern: 1.0e+6, noise_seed: 4,
     object_seeds: {train: 1, validation: 3, test: 2},
     probe: {kind: ideal_disk, smooth_sigma_px: 0.5},
     assumed_probe: null,
     scan: {kind: raster, stride_px: {train: 4, validation: 6, test: 4}}}

arms:
  control: &arm
    asks: Does the hybrid train?
    versus: null
    changes: []
    data: data/toy
    seeds: [1, 2]
    order_seed: null
    generator:
      {name: hybrid, width: 4, fno_blocks: 2, modes: 4, mode_set: classic,
       spectral_init: variance, max_hidden_channels: null, input_transform: none,
       inputs: amplitude, decoder_norm: none, output_mode: real_imag, start: zero}
    loss: {name: mae, overlap_weight: 0.0}
    optimizer: {name: adam, lr: 0.001}
    schedule: {name: constant}
    clip: {gradient_clip_algorithm: norm, gradient_clip_val: 1.0, exclude_head: false}
    epochs: 2
    batch_size: 16
    batch_order: shuffled
    precision: fp32
    legacy: {batch_coupled_probe: false}

  cnn:
    <<: *arm
    asks: Does the cnn train?
    versus: control
    changes: [generator.name]
    generator: {name: cnn, width: 4, input_transform: none}

  flat:
    asks: What does an object without structure score?
    versus: null
    changes: []
    data: data/toy
    source: {name: flat}
"""
CLAIMS = "claims: {}\n"


class Toy:
    """One checkout on disk, with git and DVC of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **os.environ,
            # The console script would import the checkout that the tests run in.
            "PYTHONPATH": str(path),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@example.org",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@example.org",
        }

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            input=stdin,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """The same, left running."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.path, env=self.environment, text=True, **pipes)

    def must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def repro(self) -> list[str]:
        """`dvc repro`; the names of the stages that really ran, in order."""
        out = self.must("dvc", "repro")
        return re.findall(r"Running stage '([^']+)'", out)

    def commit(self, message: str) -> None:
        self.must("git", "add", "-A")
        self.must("git", "commit", "-qm", message)

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.path / file
        text = path.read_text()
        assert old in text, f"{file} no longer holds {old!r}"
        path.write_text(text.replace(old, new, 1))


def make_toy(path: Path, params: str = PARAMS, claims: str = CLAIMS) -> Toy:
    """The tracked and new files of this checkout, with tiny settings, committed in a new git."""
    listed = subprocess.run(
        ("git", "ls-files", "-co", "--exclude-standard"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    dropped = (
        *("results/", "provenance/", "archived/", "fingerprints/", "findings."),
        *("studies/results/", "full/results/", "dvc.lock", "docs/", "tests/"),
    )
    for name in listed:
        if name.startswith(dropped):
            continue
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    for recorded in path.glob("*/recorded.json"):
        recorded.write_text('{"files": {}}\n')
    (path / "params.yaml").write_text(params)
    (path / "claims.yaml").write_text(claims)
    (path / "data.dvc").write_text("deps:\n- path: build/dataset\nouts:\n- path: data\n")
    toy = Toy(path)
    toy.must("git", "init", "-qb", "main")
    toy.commit("toy")
    return toy
