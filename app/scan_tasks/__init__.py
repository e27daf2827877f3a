"""A measured scan on its way from file to image: private folders, child processes, steps."""
