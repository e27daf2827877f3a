"""A study of two arms that differ in the clip, on the tiny data set."""

from __future__ import annotations

import pytest
import stored

from study.settings import DataParams, Study


@pytest.fixture
def study(tiny_params: DataParams) -> Study:
    return stored.study_of(
        tiny_params.model_dump(mode="json"),
        control=stored.arm(),
        agc=stored.arm("control", clip=stored.AGC),
        both=stored.arm("control", clip=stored.AGC, optimizer={"name": "adam", "lr": 1e-2}),
        loose=stored.arm("control", clip=stored.LOOSE),
        rpie=stored.reference(
            {"name": "rpie", "passes": 2, "alpha": 0.1, "update_probe": False, "seed": 0}
        ),
    )
