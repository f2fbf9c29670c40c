"""`python -m visgen` is the command line."""

from .cli import main

main()
