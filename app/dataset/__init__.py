"""The page "Data set": what lies in a set, read no further than what is shown."""
