"""`python -m insid3` is `insid3`."""

from insid3.cli import main

main()
