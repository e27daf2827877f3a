"""Navigation alone; every page is a file of its own in app/pages/."""

import streamlit as st

st.set_page_config(page_title="Armature", layout="wide")
st.navigation(
    [
        st.Page("pages/overview.py", title="Overview", url_path="overview", default=True),
        st.Page("pages/findings.py", title="Findings", url_path="findings"),
    ]
).run()
