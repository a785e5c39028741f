"""The pre-commit hook `gslc-check`: says whether the cluster file compiles; whether build/ is current, says another."""

from __future__ import annotations

import sys

from gslc.cli.main import main
from gslc.cli.session import DONE, OUT_OF_DATE


def run(args: list[str]) -> int:
    """The exit status of `gslc build --check --offline -q`, but 0 where only the output is out of date."""
    try:
        main(["build", "--check", "--offline", "--quiet", *args])
    except SystemExit as end:
        return DONE if end.code == OUT_OF_DATE else int(end.code or DONE)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
