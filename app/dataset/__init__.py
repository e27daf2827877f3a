"""The Data page: the content of a data set; only the displayed parts are read."""
