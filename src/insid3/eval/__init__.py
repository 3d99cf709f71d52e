"""Evaluations on published data sets and on a user's own: episodes, metrics, runs, reports."""
