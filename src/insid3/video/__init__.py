"""Frames of a video, or of a sequence of pictures: read, marked with what was seen before, and filmed."""
