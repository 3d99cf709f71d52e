"""The stages of the method, in the paper's order (section 3): pure functions on flat patch tokens."""
