"""My scan: from a file to an image with its R-factor; the work is done by child processes."""
