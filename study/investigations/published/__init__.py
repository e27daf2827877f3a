"""The published numbers beside ours, and the decision rule of the published plan."""
