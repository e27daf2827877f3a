"""The page Data: the content of a data set, of which only the displayed parts are read."""
