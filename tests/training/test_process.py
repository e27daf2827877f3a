"""What the training process asks of its C library and its processor."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# mallinfo, as every glibc has it: bytes of the heap first, blocks mapped one by one fourth.
PROGRAM = """
import ctypes, json, torch
from study.training.process import settle
{setting}
class Mallinfo(ctypes.Structure):
    _fields_ = [(f"number{{i}}", ctypes.c_int) for i in range(10)]
mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Mallinfo
def memory():
    found = mallinfo()
    return found.number0, found.number3
before = memory()
block = torch.empty(100_000_000)
held = memory()
del block
freed = memory()
print(json.dumps([before, held, freed, float(torch.tensor(1e-39) * 1.0)]))
"""
BLOCK = 400_000_000  # bytes


def memory(setting: str) -> tuple[list[int], list[int], list[int], float]:
    """(heap bytes, mapped blocks) before, with and after a block; what a denormal is times one."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setting=setting)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
@pytest.mark.slow
def test_a_trainer_keeps_its_pages_and_flushes_denormals() -> None:
    """A large block comes from a heap that stays, not from the system and back to it."""
    before, held, freed, zero = memory("settle()")
    assert held[0] - before[0] > BLOCK / 2, "a part may have been free in the heap"
    assert held[1] == before[1] and freed == held
    before, held, freed, tiny = memory("")
    assert held[0] - before[0] < BLOCK / 2
    assert (held[1], freed[1]) == (before[1] + 1, before[1])
    assert zero == 0 and tiny != 0
