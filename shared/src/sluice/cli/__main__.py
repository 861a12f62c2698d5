"""`python -m sluice.cli` is the command `sluice`."""

from sluice.cli import main

if __name__ == "__main__":
    main()
