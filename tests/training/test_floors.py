"""The weighted median that the best constant object is found with."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from study.training.floors import weighted_median


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    alike=st.booleans(),
    data=st.data(),
)
def test_half_of_the_weight_lies_up_to_the_weighted_median(
    rows: int, columns: int, alike: bool, data: st.DataObject
) -> None:
    numbers = (
        st.sampled_from([0.0, -0.0, 1.0, 1.0000001])
        if alike
        else st.floats(0, 1e6, width=32, allow_subnormal=False)
    )
    values = data.draw(arrays(np.float32, (rows, columns), elements=numbers))
    # Whole weights: their sums are exact in any order.
    weight = data.draw(arrays(np.float32, (columns,), elements=st.integers(1, 9)))
    blocks = torch.tensor(values).split(3)
    found = float(weighted_median(lambda: iter(blocks), torch.tensor(weight)))
    everywhere = np.broadcast_to(weight, values.shape)
    assert found in np.abs(values)
    assert 2 * everywhere[values <= found].sum() >= everywhere.sum()
    assert 2 * everywhere[values < found].sum() < everywhere.sum()
