"""Layouts of scan files, one reader each; `study.formats.readers` has the table of them."""
