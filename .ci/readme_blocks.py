"""Writes what the example really prints into README.md: `python .ci/readme_blocks.py [--check]`, from the root."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "build": ["build", "examples/team/cluster.yaml", "--offline"],
    "explain": ["explain", "examples/team/cluster.yaml", "analyst"],
}


def printed(arguments: list[str]) -> str:
    """Standard output of the program, without blanks at the line ends."""
    command = [sys.executable, "-m", "gslc", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def main() -> int:
    """Write the blocks, or with --check say whether they are current."""
    page = ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, arguments in COMMANDS.items():
        block = f"<!-- {name} -->\n```\n{printed(arguments)}\n```\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
    if "--check" in sys.argv:
        return int(text != page.read_text(encoding="utf-8"))
    page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
