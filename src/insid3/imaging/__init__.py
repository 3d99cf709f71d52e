"""Pictures, masks and points: reading, resizing and drawing."""
