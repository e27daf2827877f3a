"""Overview: which arms were run, with how many seeds, and what they reached."""

import streamlit as st

from app import load
from study.params import UserError

COLUMNS = {
    "last.val_loss": "final val loss",
    "best.val_loss": "best val loss",
    "last.standard.amplitude.ssim": "amplitude SSIM",
    "last.standard.phase.ssim": "phase SSIM",
    "last.standard.amplitude.mae": "amplitude MAE",
    "last.r_factor.sum": "R-factor",
}


def cell(record: dict, path: str) -> str:
    """Estimate, half of the 95 % t interval, and n; never a score of a dead image."""
    estimate, low, high = (record.get(path + end) for end in ("", ".low", ".high"))
    if estimate is None or estimate != estimate:
        return "not evaluable"
    if low is None or low != low or high is None:
        return f"{estimate:.3g}"
    return f"{estimate:.3g} ± {(high - low) / 2:.2g} (n = {record[path + '.n']:.0f})"


st.title("Overview")
st.caption(f"commit {load.commit()}")
try:
    table = load.arms()
except UserError as error:
    st.error(str(error))
    st.stop()
if table.empty:
    st.info("No runs in this checkout. Compute them with `make repro`, or bring them: `make pull`.")
    st.stop()
fenced = len(set(table["data_sha256"])) > 1
if fenced:
    st.warning("These arms were run on different data sets: shown, not compared.")
rows = [
    {
        "arm": record["arm"],
        "is": record["label"],
        "seeds ok": f"{record['ok']} of {record['seeds']}",
        "failed": record["failed"],
        "collapsed": record["collapsed"],
        **{title: cell(record, path) for path, title in COLUMNS.items() if path in table},
    }
    for record in table.to_dict("records")
]
st.dataframe(rows, hide_index=True, width="stretch")
st.caption("Mean over seeds ± half of the 95 % t interval; last weights; metric set standard.")
