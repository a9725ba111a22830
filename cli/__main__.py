"""`python -m featx.cli`."""

from .main import main

main(prog_name="featx")
