"""Annotation formats, by name."""
