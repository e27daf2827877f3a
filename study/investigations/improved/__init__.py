"""The improved arm against the control and the references that need no training."""
