"""Many targets: find them, run them, write what came out."""
