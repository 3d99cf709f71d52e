"""Published evaluations and one's own: episodes, metrics, runs, reports."""
