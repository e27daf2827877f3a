"""Compare: arms side by side: curves, numbers, images, residuals."""

from app import layout, views
from app.compare import tabs
from app.compare.chosen import choose_arms

layout.enter(
    "Compare", "Arms side by side: what they reached, what they look like, where they miss."
)
tabs.known_tab()
chosen = choose_arms()
if chosen is not None:
    tabs.show(chosen)
    views.show("compare")
