"""The New arm page: the form built from the models, the differences, the check and the claim."""
