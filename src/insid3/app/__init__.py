"""The web page (extra `app`)."""
