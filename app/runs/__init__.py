"""What Runs shows: the jobs at work, every run, and one run in full."""
