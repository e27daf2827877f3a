"""The server that `streamlit run app/main.py` starts: Streamlit behind the guard."""

from starlette.middleware import Middleware
from streamlit.starlette import App

from app.guard import Guard

server = App("script.py", middleware=[Middleware(Guard)])
