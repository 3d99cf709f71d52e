"""Checks of settings, and of files that other programs wrote."""
