"""Two records of one result merge to the same record on either side, or not at all."""

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from merge_provenance import merge  # noqa: E402

RECORDS = st.fixed_dictionaries(
    {
        "outputs": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")),
        "ended": st.sampled_from([None, "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]),
        "seconds": st.integers(1, 3),
    }
)


@settings(deadline=None)
@given(RECORDS, RECORDS)
def test_the_order_of_the_sides_does_not_matter(one, other):
    assert merge(one, other) == merge(other, one)


@settings(deadline=None)
@given(RECORDS, RECORDS)
def test_the_first_record_of_equal_outputs_is_kept_and_of_others_none(one, other):
    merged = merge(one, other)
    if one["outputs"] != other["outputs"]:
        assert merged is None
    else:
        dates = [record["ended"] for record in (one, other) if record["ended"]]
        assert merged in (one, other) and merged["ended"] == min(dates, default=None)
