"""Data sets on disk: the manifest, CXI files, and scans that others measured. No torch here."""
