"""No verdict that was ever given is lost by a merge."""

import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from merge_findings import merge  # noqa: E402

VERDICTS = st.lists(
    st.fixed_dictionaries({"status": st.sampled_from("ab"), "date": st.sampled_from("123")}),
    min_size=1,
    max_size=4,
)
CLAIMS = st.dictionaries(st.sampled_from("xyz"), VERDICTS.map(lambda v: {"history": v}))
FINDINGS = st.fixed_dictionaries({"claims": CLAIMS, "superseded": CLAIMS}).filter(
    lambda f: not {*f["claims"]} & {*f["superseded"]}
)


@settings(deadline=None)
@given(FINDINGS, FINDINGS)
def test_every_claim_and_every_verdict_is_kept(ours, theirs):
    merged = merge(ours, theirs)
    for side in (ours, theirs):
        for part in ("claims", "superseded"):
            for name, claim in side[part].items():
                kept = merged["claims"].get(name) or merged["superseded"][name]
                if name in merged["claims"] and part == "superseded":
                    continue  # it is a claim again; its own side wrote that
                assert all(verdict in kept["history"] for verdict in claim["history"])
    assert not {*merged["claims"]} & {*merged["superseded"]}


@settings(deadline=None)
@given(FINDINGS)
def test_merging_with_itself_changes_nothing(findings):
    assert merge(findings, findings) == findings


def test_our_present_verdict_stays_the_last():
    old, left, right = ({"status": s, "date": d} for s, d in (("a", "1"), ("b", "3"), ("c", "2")))
    merged = merge(
        {"claims": {"x": {"history": [old, left]}}, "counts": 1},
        {"claims": {"x": {"history": [old, right]}}, "counts": 2},
    )
    assert merged["claims"]["x"]["history"] == [old, right, left] and merged["counts"] == 1
