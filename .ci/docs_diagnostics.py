"""Prints docs/diagnostics.md from the entries of every code: `python .ci/docs_diagnostics.py > docs/diagnostics.md`."""

from __future__ import annotations

import sys

from gslc.ir.codes import all_codes

GROUPS = {
    "1": "GS1xx: input",
    "2": "GS2xx: references and lock",
    "3": "GS3xx: backend and engine",
    "4": "GS4xx: fit and placement",
    "5": "GS5xx: plan check",
    "6": "GS6xx: output",
    "8": "GS8xx: files and network",
}


def diagnostics_md() -> str:
    """The page."""
    lines = [
        "# Diagnostic codes",
        "",
        "Every message carries a code that never changes its meaning. `gslc explain GS402` prints what stands here.",
    ]
    group = ""
    for code, entry in all_codes().items():
        if code[2] != group:
            group = code[2]
            lines += ["", f"## {GROUPS[group]}"]
        lines += [
            "",
            f"### {code}",
            "",
            f"**{entry.title[0].upper()}{entry.title[1:]}.** {entry.meaning}",
            "",
            f"*What to do:* {entry.remedy}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(diagnostics_md())
