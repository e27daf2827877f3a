"""The page Arms: the rows, the table, and the comparison with the commit."""
