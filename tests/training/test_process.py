"""What the training process asks of its C library and its processor."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from study.training.process import settle
{setting}
torch.set_num_threads(1)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(40_000_000)
before = faults()
for _ in range(10):
    torch.ones(10_000_000)
print(faults() - before, float(torch.tensor(1e-39) * 1.0))
"""
SETTING = "settle()"


def page_faults(setting: str) -> tuple[int, float]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setting=setting)],
        capture_output=True,
        text=True,
        check=True,
    )
    faults, denormal = done.stdout.split()
    return int(faults), float(denormal)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_a_trainer_keeps_its_pages_and_flushes_denormals() -> None:
    """Ten blocks of 40 MB: without the setting each is mapped anew, with it most are not.

    Not all: a system that reclaims idle pages takes some back from either.
    """
    (kept, zero), (mapped, tiny) = page_faults(SETTING), page_faults("")
    assert kept < mapped / 2
    assert zero == 0 and tiny != 0
