"""What the Overview shows: the query, the rows, the table, and the commit they are held against."""
