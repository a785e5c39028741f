"""The generated pages are current, and every link in the documentation leads somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


@pytest.mark.parametrize("page", ["diagnostics", "commands"])
def test_a_generated_page_is_current(page: str) -> None:
    made = runpy.run_path(str(ROOT / ".ci" / f"docs_{page}.py"))[f"{page}_md"]()
    assert (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") == made, "run `make docs`"


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
