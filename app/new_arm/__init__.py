"""What New arm shows: the form made from the models, the difference, the check, the claim."""
