"""`python -m cnnc`."""

from cnnc.cli import main

main()
