"""Every link in the documentation leads somewhere, and every code has its entry."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


def test_the_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_shows_what_the_example_prints() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "readme_blocks.py", "--check"], check=False)
    assert done.returncode == 0, "run `make docs`"


def test_every_link_leads_to_a_file() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target, _ in LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_code_that_the_compiler_can_say_has_an_entry_and_every_entry_can_be_said() -> None:
    from gslc.ir.codes import all_codes

    sources = [path for path in (ROOT / "compiler" / "gslc").rglob("*.py") if path.parent.name != "codes"]
    said = set(re.findall(r"GS[1-8]\d\d", "\n".join(path.read_text(encoding="utf-8") for path in sources)))
    entries = set(all_codes())
    assert said - entries == set()
    assert entries - said == set()
