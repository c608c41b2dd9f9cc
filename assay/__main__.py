"""`python -m assay` and the console script `assay`."""

import sys


def main() -> int:
    """The exit code of the program."""
    from harness.cli import finish
    from harness.cli import main as program

    return finish(program())


if __name__ == "__main__":
    sys.exit(main())
