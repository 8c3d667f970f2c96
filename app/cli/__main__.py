"""`python -m app.cli`: the command `bide`, from a checkout."""

from . import main

main()
