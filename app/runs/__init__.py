"""The Runs page: active jobs, all runs, and the details of one run."""
