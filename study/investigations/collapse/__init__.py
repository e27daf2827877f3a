"""Which arms die, how long their runs live, and which layers die."""
