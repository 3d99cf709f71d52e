"""Features of pictures: tokens on their grid of patches, what is kept of them, and the way back to pixels."""
