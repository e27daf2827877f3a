"""Navigation alone; every page is a file of its own in app/pages/."""

from app import frame

frame.open_page()
