"""What Arms shows: the rows, the table, and the commit they are held against."""
