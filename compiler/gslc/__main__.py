"""`python -m gslc`."""

from gslc.cli.main import main

main()
