"""The stages of the method, numbered as in the paper's section 3: pure functions on flat patch tokens."""
