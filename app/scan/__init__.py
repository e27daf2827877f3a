"""The My scan page: from a file to an image and its R-factor; child processes do the work."""
