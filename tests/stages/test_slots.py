"""How many runs train at once: by memory, cores and the user's word."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.runs import environment
from study.settings import UserError
from study.stages import slots as rooms
from study.stages.slots import CONTEXT_BYTES, MARGIN, MOST_PER_GPU, per_gpu, see_only, slots

GB = 10**9


@given(
    st.lists(st.integers(0, 200 * GB), min_size=1, max_size=8),
    st.integers(1, 50 * GB),
    st.integers(1, 64),
)
@settings(deadline=None, max_examples=25)
def test_runs_fit_into_free_memory_but_one_is_always_tried(
    free: list[int], run_bytes: int, cores: int
) -> None:
    held = per_gpu(free, run_bytes, cores)
    for bytes_, count in zip(free, held, strict=True):
        assert 1 <= count <= MOST_PER_GPU
        assert count == 1 or count * (CONTEXT_BYTES + MARGIN * run_bytes) <= bytes_
    assert sum(held) <= max(cores, len(free))


def with_gpus(monkeypatch: pytest.MonkeyPatch, free: list[int], cores: int) -> None:
    monkeypatch.setattr(rooms, "free_gpu_bytes", lambda: free)
    monkeypatch.setattr(environment, "cores", lambda: cores)


def test_without_a_gpu_a_run_takes_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, [], 8)
    assert slots(GB, 1, None) == [None] * 8
    assert slots(GB, 4, None) == [None] * 2
    assert slots(GB, 1, 3) == [None] * 3


def test_runs_go_to_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, [20 * GB, 5 * GB], 16)
    assert slots(GB, 1, None) == [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]
    assert slots(GB, 1, 3) == [0, 1, 0]
    assert slots(GB, 2, None) == slots(GB, 2, 1) == [None]
    with pytest.raises(UserError, match=r"--jobs is 3 with --devices 2: .* one after another"):
        slots(GB, 2, 3)


@pytest.mark.parametrize("asked", [0, 9])
def test_more_runs_than_cores_are_refused(asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, [], 8)
    with pytest.raises(UserError, match=f"--jobs is {asked}; accepted: 1 to 8"):
        slots(GB, 1, asked)


@pytest.mark.parametrize(
    ("given_", "gpu", "seen"), [("4,6", 1, "6"), (None, 2, "2"), ("3", 0, "3")]
)
def test_a_process_sees_one_of_the_gpus_it_was_given(
    given_: str | None, gpu: int, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ: dict[str, Any] = {} if given_ is None else {"CUDA_VISIBLE_DEVICES": given_}
    monkeypatch.setattr(os, "environ", environ)
    see_only(gpu)
    assert environ["CUDA_VISIBLE_DEVICES"] == seen
    see_only(None)
    assert environ["CUDA_VISIBLE_DEVICES"] == seen
