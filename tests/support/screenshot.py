"""Takes the picture of a report page that the documentation shows.

python tests/support/screenshot.py examples/team/build docs/report.png [dark]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from browser import Browser

from gslc.edges.plan_source import open_plan
from gslc.edges.resources import resource_text
from gslc.report.page import report_page

WIDTH, HEIGHT = 1440, 1010


def take(plan: str, picture: Path, scheme: str) -> None:
    """Render the page of a plan at the size of a laptop's window, in two pixels a point."""
    source = open_plan(plan, Path.cwd()).value
    if source is None:
        raise SystemExit(f"{plan} is no plan")
    with tempfile.TemporaryDirectory() as folder, Browser(f"--window-size={WIDTH},{HEIGHT}") as browser:
        page = Path(folder) / "report.html"
        page.write_text(report_page(source.document, resource_text), encoding="utf-8")
        browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.devtools(
            "Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1.5, mobile=False
        )
        browser.open(page.as_uri())
        browser.screenshot(picture)


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "light")
