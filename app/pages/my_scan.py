"""My scan: from a measured file to an image with an R-factor."""

import streamlit as st

from app import access, actions, layout, load
from app.fragments import guarded
from app.scan import result, views
from app.scan_tasks import work
from study.settings import UserError

layout.enter("My scan", "From a measured file to an image with an R-factor.")
views.refusal()


def choose() -> None:
    """No scan chosen yet: choose a file or an earlier scan."""
    st.subheader("1 Choose a scan", anchor=False)
    views.choose_file()
    views.earlier()


def worked_on(scan: work.Scan) -> None:
    """The steps of one scan that are available so far."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(scan.name, width="content")
        st.button("Another scan", key="scan-other", icon=":material/arrow_back:", on_click=leave)
        if not access.read_only():
            st.button(
                "Remove", key="scan-remove", icon=":material/delete:",
                help="Ends the work on this scan and deletes its upload. imported/ is kept.",
                on_click=removed, args=(scan.id,),
            )  # fmt: skip
    look = scan.task("look")
    if scan.task("import").state != "finished":
        guarded(reading, scan, look)
    if scan.imported is not None:
        guarded(importing, scan)


def reading(scan: work.Scan, look: work.Task) -> None:
    if views.waiting(scan, look):
        return
    if views.failed(look) and not views.kept(scan):
        st.caption("Nothing from this file is kept.")
        return
    if look.state == "finished":
        st.subheader("2 Detected conventions", anchor=False)
        views.detected(look)
    st.subheader("3 Mask", anchor=False)
    views.draw_mask(scan)
    if look.state != "finished":
        return
    accepted = views.readings(scan, look)
    st.subheader("4 Import", anchor=False)
    if not accepted:
        st.caption("Accept a row of the table first.")
    elif scan.task("import").state != "running":
        views.import_form(scan)


def importing(scan: work.Scan) -> None:
    task = scan.task("import")
    if views.waiting(scan, task) or views.failed(task) or task.state != "finished":
        return
    views.imported(scan)
    manifest = load.manifest(load.ROOT / "imported" / str(scan.imported))
    for line in manifest.statements:
        st.text(f"· {line}")
    layout.link("dataset", "View the data", data=f"imported/{scan.imported}")
    st.subheader("5 Reconstruct", anchor=False)
    task = scan.task("reconstruct")
    if views.waiting(scan, task):
        return
    result.form(scan, manifest)
    if not views.failed(task) and task.state == "finished":
        result.show(scan, task)


def leave() -> None:
    """Return to the choice of a file; the scan continues."""
    st.query_params.clear()
    for key in [key for key in st.session_state if str(key).startswith("scan-")]:
        del st.session_state[key]


def removed(scan_id: str) -> None:
    views.attempt(actions.remove_scan, scan_id)
    leave()


asked = st.query_params.get("scan")
if asked is None:
    choose()
else:
    try:
        found = work.read(load.ROOT, asked)
    except UserError as error:
        views.tell(error)
        choose()
    else:
        worked_on(found)
