"""`python -m app` is the command `gateway`."""

from app.cli import main

main()
