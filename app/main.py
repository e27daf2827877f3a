"""Navigation alone; every page is a file of its own in app/views/.

Not `pages`: a folder of that name beside this file is a navigation of Streamlit's own, and answers
the first deep link before this file has run.
"""

import streamlit as st

st.set_page_config(page_title="Armature", layout="wide")
st.navigation(
    [
        st.Page("views/overview.py", title="Overview", default=True),
        st.Page("views/findings.py", title="Findings", url_path="findings"),
    ]
).run()
