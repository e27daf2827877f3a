"""Compare: arms side by side: curves, scores, images and residuals."""

from app import layout, views
from app.compare import tabs
from app.compare.chosen import choose_arms

layout.enter("Compare", "Arms side by side: curves, scores, images and residuals.")
tabs.known_tab()
chosen = choose_arms()
if chosen is not None:
    tabs.show(chosen)
    views.show("compare")
