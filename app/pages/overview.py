"""Overview: which arms were run, with how many seeds, and what they reached."""

import streamlit as st

from app import frame, load
from study.evidence.table import cell

COLUMNS = {
    "last.val_loss": "final val loss",
    "best.val_loss": "best val loss",
    "last.standard.amplitude.ssim": "amplitude SSIM",
    "last.standard.phase.ssim": "phase SSIM",
    "last.standard.amplitude.mae": "amplitude MAE",
    "last.r_factor.sum": "R-factor",
}


frame.enter("Overview", "Which arms were run, with how many seeds, and what they reached.")
table = load.arms()
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
        "ok / failed / collapsed": f"{record['ok']} / {record['failed']} / {record['collapsed']}",
        **{title: cell(record, path) for path, title in COLUMNS.items() if path in table},
    }
    for record in table.to_dict("records")
]
st.dataframe(rows, hide_index=True, width="stretch", height=35 * (len(rows) + 1) + 3)
st.caption("Mean over seeds ± half of the 95 % t interval; last weights; metric set standard.")
