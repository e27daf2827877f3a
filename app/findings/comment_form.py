"""Comments on a claim, and a form for new ones unless the app is read-only."""

from __future__ import annotations

from html import escape as html_escape

import streamlit as st

from app import access, actions, comments, escape, load
from study.settings import UserError

QUOTE = "border-left:3px solid currentColor;padding-left:.7rem;overflow-wrap:anywhere"


def show(claim: str) -> None:
    """The comments on a claim, and a form for one more unless the app is read-only."""
    entries, broken = comments.read(load.ROOT)
    own = [comment for comment in entries if comment.claim == claim]
    with st.container(border=True, gap="small"):
        st.markdown(f"**Comments by people** ({len(own)}): they do not affect verdicts")
        for comment in own:
            st.html(_one(comment))
        if broken:
            st.caption(
                f"{broken:d} lines of {comments.FILE} cannot be read as comments and are left out."
            )
        if not access.read_only():
            with st.expander("Add a comment", icon=":material/edit_note:"):
                _form(claim)


def _one(comment: comments.Comment) -> str:
    text = html_escape(comment.text).replace("\n", "<br>")
    when = comment.time.strftime("%Y-%m-%d %H:%M UTC")
    return (
        f'<div style="{QUOTE}">'
        f"<strong>{html_escape(comment.name)}</strong> <small>{when}</small><br>{text}</div>"
    )


def _form(claim: str) -> None:
    with st.form(f"comment-{claim}", clear_on_submit=False, border=False):
        name = _name(claim)
        text = st.text_area(
            "Comment", key=f"text-{claim}", max_chars=comments.LONGEST_TEXT, height=80
        )
        sent = st.form_submit_button("Sign and save", icon=":material/draw:", key=f"sign-{claim}")
    if sent:
        _keep(claim, name, text)
    st.caption(f"Saved in {comments.FILE}, which is committed with the study.")


def _name(claim: str) -> str:
    """The author: the login if there is one, else the typed name."""
    login = access.has_login() and st.user.get("name")
    if login:
        st.caption(f"Signed as {escape.markdown(str(login))}")
        return str(login)
    return st.text_input("Name", key=f"name-{claim}", max_chars=comments.LONGEST_NAME)


def _keep(claim: str, name: str, text: str) -> None:
    found = load.findings()
    try:
        actions.comment(claim, name, text, () if found is None else found.claims)
    except UserError as error:
        st.error(escape.sentence(str(error)))
    else:
        st.rerun()
