"""Runs over many targets: the search for targets, the work on each of them, and the files of results."""
