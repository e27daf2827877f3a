"""Compare: arms side by side: curves, numbers, images, residuals."""

from app import frame

frame.enter("Compare", "Arms side by side: curves, numbers, images, residuals.")
