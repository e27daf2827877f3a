"""Process a measured scan from file to image: private folders, child processes, user actions."""
