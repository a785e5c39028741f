"""The report page in a real browser: it opens fast, asks the network for nothing, and works by keyboard alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from sample_plans import host, instance, plan, shard

from gslc.documents.plan import plan_document
from gslc.edges.plan_source import PlanSource
from gslc.edges.resources import resource_text
from gslc.ir.plan import Plan
from gslc.report.diff import diff_plans
from gslc.report.page import report_page
from gslc.report.page_svg import memory_map

pytestmark = pytest.mark.real

TAB, ENTER, ESCAPE = "\ue004", "\ue007", "\ue00c"
HOSTS = (
    host("atlas", "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090", labels={"rack": "r1"}),
    host("borealis", "NVIDIA L40S", gib=45, labels={"rack": "r2"}),
)
OLD = plan(instance("chat"), instance("embed", where="borealis", gib=2), hosts=HOSTS)
NEW = plan(instance("chat", gpus=(0, 1), context=16384), instance("embed", where="borealis", gib=2), hosts=HOSTS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium", "chromium-driver"], check=True, env=quiet)
    with Browser("--window-size=1280,900") as opened:
        yield opened


def write(folder: Path, of: Plan, before: Plan | None = None) -> str:
    """The address of the page of a plan."""
    document = plan_document(of)
    if before is None:
        text = report_page(document, resource_text)
    else:
        old = plan_document(before)
        diff = diff_plans(PlanSource(name="old", document=old), PlanSource(name="new", document=document))
        text = report_page(document, resource_text, old, diff)
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    return file.as_uri()


def visible_hosts(browser: Browser) -> list[str]:
    found: list[str] = browser.run(
        "return [...document.querySelectorAll('.host')].filter((one) => one.checkVisibility()).map((one) => one.dataset.host)"
    )
    return found


def choose(browser: Browser, field: str, value: str) -> None:
    browser.run(
        "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}));",
        field,
        value,
    )


def test_it_opens_without_a_complaint_and_without_the_network(browser: Browser, tmp_path: Path) -> None:
    browser.devtools("Network.enable")
    browser.open(write(tmp_path, NEW, OLD))
    assert browser.complaints() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.run("return document.title") == "lab: GPU serving layout"


def test_filters_by_model_host_and_label(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, NEW))
    assert visible_hosts(browser) == ["atlas", "borealis"]
    choose(browser, "f-model", "embed")
    assert visible_hosts(browser) == ["borealis"]
    assert browser.run("return document.getElementById('f-count').textContent") == "1 of 2 hosts"
    rows = "return [...document.querySelectorAll('#endpoints tbody tr')].filter((one) => !one.hidden).length"
    assert browser.run(rows) == 1
    choose(browser, "f-model", "")
    choose(browser, "f-label", "rack=r1")
    assert visible_hosts(browser) == ["atlas"]
    choose(browser, "f-host", "bor")
    assert visible_hosts(browser) == []
    assert browser.run("return document.getElementById('f-none').checkVisibility()")
    browser.run("document.querySelector('.filters button[type=reset]').click()")
    assert browser.run("return new Promise((done) => setTimeout(() => done(true), 50))")
    assert visible_hosts(browser) == ["atlas", "borealis"]


def test_reasons_open_on_click_and_close_with_escape(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, NEW, OLD))
    browser.run(
        "document.querySelector('.bar g[data-i=\"chat-0\"] path').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    panel = browser.run("return document.getElementById('panel').innerText")
    for words in ("chat-0", "one GPU is enough", "2.0 GiB short", "--max-model-len 16384", "16384"):
        assert words in panel
    assert browser.run("return location.hash") == "#instance=chat-0"
    browser.press(ESCAPE)
    assert browser.run("return document.getElementById('panel').open") is False


def test_it_works_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, NEW))
    seen = []
    for _ in range(40):
        browser.press(TAB)
        name = browser.run("return document.activeElement.dataset.i ?? ''")
        seen.append(browser.run("return document.activeElement.id || document.activeElement.tagName"))
        if name:
            break
    assert {"f-model", "f-host", "f-label"} <= set(seen)
    browser.press(ENTER)
    assert browser.run("return document.getElementById('panel').open") is True
    assert browser.run("return document.getElementById('panel-title').textContent") == name
    assert browser.run("return document.getElementById('panel').contains(document.activeElement)") is True


def test_before_and_after_are_switched(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, NEW, OLD))
    count = "return [...document.querySelectorAll('.hosts')].filter((one) => one.checkVisibility()).map((one) => one.className)"
    assert browser.run(count) == ["hosts after"]
    browser.run("document.getElementById('v-before').click()")
    assert browser.run(count) == ["hosts before"]


def test_a_link_to_an_instance_opens_it(browser: Browser, tmp_path: Path) -> None:
    address = write(tmp_path, NEW)
    browser.open("about:blank")
    browser.open(f"{address}#instance=embed-0")
    assert browser.run("return document.getElementById('panel-title').textContent") == "embed-0"


def test_hostile_names_stay_words(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=\"document.title='owned'\">"
    part = shard("atlas", name=evil, argv=(evil,))
    browser.open(
        write(tmp_path, plan(instance("chat", 0, part), hosts=(host("atlas", evil, labels={"x": evil}),), cluster=evil))
    )
    browser.run("document.querySelector('.who button').click()")
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert "owned" not in browser.run("return document.title").replace(evil, "")
    assert browser.complaints() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_keep_their_contrast(browser: Browser, tmp_path: Path, scheme: str) -> None:
    browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(write(tmp_path, NEW, OLD))
    ratios = browser.run(CONTRAST)
    browser.devtools("Emulation.setEmulatedMedia", features=[])
    assert len(ratios) > 100
    assert [entry for entry in ratios if entry[0] < 4.5] == []


def test_narrow_windows_scroll_in_one_direction_only(browser: Browser, tmp_path: Path) -> None:
    browser.devtools("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    browser.open(write(tmp_path, NEW, OLD))
    sizes = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    browser.devtools("Emulation.clearDeviceMetricsOverride")
    assert sizes[0] <= sizes[1]


def test_everything_has_a_name_for_screen_readers(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, NEW, OLD))
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    wanted = {"button", "link", "combobox", "searchbox", "radio", "image", "dialog"}
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node.get("ignored")
        and node.get("role", {}).get("value") in wanted
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []


def test_print_drops_controls_and_keeps_bars(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, NEW))
    browser.devtools("Emulation.setEmulatedMedia", media="print")
    hidden = browser.run("return getComputedStyle(document.querySelector('.filters')).display")
    fill = browser.run("return getComputedStyle(document.querySelector('.bar path.w')).fill")
    browser.devtools("Emulation.setEmulatedMedia", media="")
    assert hidden == "none"
    assert fill == "rgb(62, 95, 208)"


def test_a_thousand_hosts_open_in_two_seconds(browser: Browser, tmp_path: Path) -> None:
    hosts = tuple(
        host(f"node-{n:04}", *["NVIDIA H100 80GB HBM3"] * 8, gib=80, labels={"rack": f"r{n // 40}"})
        for n in range(1000)
    )
    fleet = (
        instance(f"model-{n % 100:03}", n // 100, where=f"node-{n // 4:04}", gpus=(n % 4 * 2, n % 4 * 2 + 1), gib=60)
        for n in range(4000)
    )
    address = write(tmp_path, plan(*fleet, hosts=hosts))
    times = []
    for _ in range(3):
        browser.open("about:blank")
        browser.open(address)
        times.append(browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert len(visible_hosts(browser)) == 1000
    assert min(times) < 2000, times


def test_the_map_is_drawn_as_an_image(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "map.svg"
    file.write_text(memory_map(plan_document(NEW)), encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text('<img id="map" src="map.svg">', encoding="utf-8")
    browser.open(page.as_uri())
    assert browser.run("return document.getElementById('map').naturalWidth") == 880


# WCAG 2.2, 1.4.3: every visible text against the first opaque background behind it.
CONTRAST = """
const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const read = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return canvas.getImageData(0, 0, 1, 1).data; };
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, holder = node.parentElement;
  if (!node.textContent.trim() || ['SCRIPT', 'STYLE', 'OPTION'].includes(holder.tagName) || !holder.checkVisibility()) continue;
  let behind = holder;
  while (behind && read(getComputedStyle(behind).backgroundColor)[3] < 255) behind = behind.parentElement;
  if (!behind) continue;
  const first = light(read(getComputedStyle(holder).color)), second = light(read(getComputedStyle(behind).backgroundColor));
  found.push([(Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05), node.textContent.trim()]);
}
return found;
"""
