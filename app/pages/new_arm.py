"""New arm: one change against an arm that exists, checked before it costs anything."""

from app import frame

frame.enter("New arm", "One change against an arm that exists, checked before it costs anything.")
