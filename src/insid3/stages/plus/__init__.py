"""The stages that the preset "plus" runs instead of stages 3 to 5. Not in the paper."""
