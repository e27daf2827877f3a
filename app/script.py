"""The script that Streamlit runs for every session; each page has its own file in app/pages/."""

from app import layout

layout.open_page()
