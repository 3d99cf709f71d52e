"""Videos and sequences of pictures: reading frames, marking frames with a memory, and writing films."""
