"""The report page and the memory map: complete, self-contained, and safe from names."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from copy import deepcopy
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sample_plans import DECISIONS, GIB, host, instance, memory, plan, shard

from gslc.cli import report as report_command
from gslc.cli.session import Exit
from gslc.documents.plan import plan_document, plan_text, read_plan
from gslc.edges.plan_source import PlanSource
from gslc.edges.resources import resource_text
from gslc.ir.plan import DeviceMemory, HostSummary, Plan, Unplaced
from gslc.report.diff import diff_plans
from gslc.report.diff_json import diff_json
from gslc.report.diff_markdown import LIMIT, diff_markdown
from gslc.report.diff_text import diff_text
from gslc.report.page import report_page
from gslc.report.page_model import fleet, part_sums, short_name
from gslc.report.page_svg import memory_map

FLEET = plan(
    instance("chat"),
    instance("chat", 1, gpus=(1,)),
    instance("rerank", 0, shard("borealis", name="rerank-0", gib=3), where="borealis"),
)


class Tags(HTMLParser):
    """Collects tags with their attributes, and what stands in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.scripts and not self.scripts[-1]:
            self.scripts[-1] = data
        else:
            self.words.append(data)


def page(of: Plan, before: Plan | None = None) -> str:
    document = plan_document(of)
    if before is None:
        return report_page(document, resource_text)
    old = plan_document(before)
    diff = diff_plans(PlanSource(name="old", document=old), PlanSource(name="new", document=document))
    return report_page(document, resource_text, old, diff)


def details(text: str) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads(Tags(text).scripts[0])["instances"]
    return found


@pytest.mark.parametrize(
    ("nvlink", "chip"),
    [((), None), (((0, 1),), "NVLink 0,1"), (((0, 1, 2, 3), (5, 7), (4, 6, 8)), "NVLink 0–3 | 5,7 | 4,6,8")],
)
def test_a_host_shows_which_of_its_cards_are_linked(nvlink: tuple[tuple[int, ...], ...], chip: str | None) -> None:
    linked = replace(host("atlas", *["NVIDIA H200"] * 9), nvlink=nvlink)
    words = [word for word in Tags(page(plan(instance("chat"), hosts=(linked,)))).words if "NVLink" in word]
    assert words == ([] if chip is None else [chip])


def test_the_page_names_every_host_instance_and_endpoint() -> None:
    tags = Tags(page(FLEET))
    words = " ".join(tags.words)
    for name in ("atlas", "borealis", "chat-0", "chat-1", "rerank-0", "http://10.0.0.11:20000", "18.0 GiB", "RTX 4090"):
        assert name in words
    assert "@" not in re.sub(r"@media[^{]*", "", page(FLEET).partition("<body>")[2].partition("<script")[0])


def test_the_page_loads_nothing_and_its_script_is_pinned_by_its_hash() -> None:
    text = page(FLEET, plan(instance("chat")))
    tags = Tags(text)
    assert not [tag for tag, _ in tags.tags if tag in ("link", "img", "iframe", "object", "embed", "base")]
    assert not [attributes for _, attributes in tags.tags if "src" in attributes or "srcset" in attributes]
    assert "url(" not in text
    assert "@import" not in text
    assert not [name for _, attributes in tags.tags for name in attributes if name.startswith("on")]
    policy = next(a["content"] for _, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    digest = base64.b64encode(hashlib.sha256(tags.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_reasons_memory_and_command_line_are_there_to_open() -> None:
    chat = details(page(FLEET))["chat-0"]
    assert chat["memory"][0][0] == "atlas/0"  # type: ignore[index]
    assert chat["processes"][0]["argv"][:2] == ["serve", "/models/chat"]  # type: ignore[index]
    reasons = json.loads(Tags(page(FLEET)).scripts[0])["reasons"]
    numbers: list[int] = chat["decisions"]  # type: ignore[assignment]
    assert [reasons[number]["topic"] for number in numbers] == ["backend", "gpus"]
    assert "2.0 GiB short (2,147,483,648 bytes)" in json.dumps(reasons)


def test_before_and_after_are_both_drawn_and_the_change_is_told() -> None:
    longer = plan(instance("chat", context=16384, gib=20), *FLEET.instances[1:])
    text = page(longer, FLEET)
    assert 'class="hosts before"' in text
    assert 'id="changes"' in text
    assert 'data-model="chat"' in text.partition('id="changes"')[2].partition("</section>")[0]
    assert "rerank" not in text.partition('id="changes"')[2].partition("</section>")[0]
    assert ["context", "8192", "16384"] in details(text)["chat-0"]["changes"]  # type: ignore[operator]


def test_instances_that_changed_are_marked_where_they_lie() -> None:
    new = plan(instance("chat", context=16384), instance("fresh", gpus=(1,)))
    _, after, before = re.split(r'class="hosts (?:after|before)"', page(new, FLEET))
    marks = re.compile(r'<b class="mark (\w+)" title="\w+">[-+~]</b><button type="button" data-i="([a-z0-9-]+)"')
    assert set(marks.findall(after)) == {("changed", "chat-0"), ("added", "fresh-0")}
    assert set(marks.findall(before)) == {("changed", "chat-0"), ("removed", "chat-1"), ("removed", "rerank-0")}


def test_one_plan_alone_has_no_changes_and_no_switch() -> None:
    assert 'id="changes"' not in page(FLEET)
    assert "v-before" not in page(FLEET).partition("<body>")[2]


def test_replicas_without_a_place_are_announced() -> None:
    text = page(replace(FLEET, unplaced=(Unplaced(model="big", replica=0, code="GS402"),)))
    assert "big-0 (GS402)" in text
    assert 'role="alert"' in text


def test_bars_are_told_in_words() -> None:
    labels = [attributes.get("aria-label") or "" for tag, attributes in Tags(page(FLEET)).tags if tag == "svg"]
    spoken = next(label for label in labels if "chat-0" in label)
    assert spoken.startswith("GPU 0: chat-0 18.0 GiB (Weights 12.6 GiB")
    assert spoken.endswith("6.0 GiB free")


def test_a_plan_without_inventory_is_drawn_from_its_shards() -> None:
    (atlas, _) = fleet(plan_document(replace(FLEET, hosts=())))
    assert [device.label for device in atlas.gpus] == ["GPU 0", "GPU 1"]
    assert atlas.gpus[0].capacity_bytes is None
    assert "18.0 GiB" in page(replace(FLEET, hosts=()))


def test_unified_memory_is_one_pool() -> None:
    mini = replace(host("mini", "Apple M2 Ultra", gib=128, ram=192), unified_memory=True)
    (view,) = fleet(plan_document(plan(instance("chat", where="mini"), hosts=(mini,))))
    (pool,) = view.gpus
    assert view.ram is None
    assert pool.capacity_bytes == 192 * GIB
    assert pool.used_bytes == 19 * GIB


def test_an_empty_plan_has_a_page_and_a_map() -> None:
    empty = plan(hosts=())
    assert "0 hosts" in page(empty)
    assert ET.fromstring(memory_map(plan_document(empty))).tag.endswith("svg")


def test_bars_stay_inside_their_frame() -> None:
    crowded = plan(*(instance(f"m{number}", gib=0.0001) for number in range(300)), instance("full", gib=23.9))
    for tag, attributes in Tags(page(crowded)).tags:
        if tag == "path" and (attributes.get("class") or "") in "wkcosr":
            left, width = re.fullmatch(r"M(\d+) 0h(\d+)v1H\1z", attributes["d"] or "").groups()  # type: ignore[union-attr]
            assert int(left) <= 1000
            assert int(width) >= 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=6), st.integers(0, 2))
def test_parts_and_free_space_sum_to_the_capacity(loads: list[tuple[int, int]], reserved: int) -> None:
    machine = replace(host("atlas", *["X"] * 4, gib=64), reserved_gpu_memory_bytes=reserved * GIB)
    busy = plan(*(instance(f"m{n}", gpus=(gpu,), gib=gib) for n, (gpu, gib) in enumerate(loads)), hosts=(machine,))
    (view,) = fleet(plan_document(busy))
    assert sum(part_sums(view.gpus).values()) == 4 * 64 * GIB


hostile_names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30) | st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "<!--",
        "-->",
        "]]>",
        "@data@",
        "@script@",
        "'; alert(1) //",
        "\u202egnp.exe",
        "__proto__",
        "{{7*7}}",
        "&lt;b&gt;",
    ]
)


@cache
def plain_tags() -> Tags:
    """The tags of a page with harmless names."""
    return Tags(page(plan(instance("m"), hosts=(host("atlas", "X", labels={"a": "b"}),)), FLEET))


@given(hostile_names, hostile_names, hostile_names)
def test_no_name_becomes_markup(name: str, machine: str, word: str) -> None:
    part = shard(machine, name=name, argv=(word,), env=((name, word),))
    one = replace(
        instance("m", 0, part),
        name=name,
        model=name,
        served_name=word,
        decisions=(replace(DECISIONS[1], because=word, chosen=name),),
    )
    labels: HostSummary = replace(host(machine, word), labels=((name, word),))
    text = page(plan(one, hosts=(labels,), cluster=word), FLEET)
    tags = Tags(text)
    plain = plain_tags()
    assert {tag for tag, _ in tags.tags} <= {tag for tag, _ in plain.tags} | {"li", "details"}
    assert len(tags.scripts) == 2
    assert tags.scripts[1] == plain.scripts[1]
    assert not [key for _, attributes in tags.tags for key in attributes if key.startswith("on")]
    assert len(json.loads(tags.scripts[0])["instances"]) == 1
    picture = memory_map(plan_document(plan(one, hosts=(labels,), cluster=word)))
    kinds = {element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()}
    assert kinds <= {"svg", "title", "style", "text", "tspan", "rect", "path"}


READABLE = plan_text(plan(instance("chat"), instance("big", 0, shard("atlas"), shard("borealis", role="rpc", rank=1))))
ODD = (None, True, 0, -1, 3, 2**62, 1.0, "", "x", "</script>", [], {}, [0], {"a": "b"})


@given(st.data())
def test_a_damaged_plan_is_refused_or_drawn_and_never_an_exception(data: st.DataObject) -> None:
    document = json.loads(READABLE)
    for _ in range(data.draw(st.integers(1, 3))):
        node: object = document
        while isinstance(node, dict | list) and node:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.integers(0, 5)) == 0:
                node[key] = deepcopy(data.draw(st.sampled_from(ODD)))
                break
            node = node[key]
    read = read_plan(json.dumps(document), "plan.json").value
    if read is None:
        return
    before = plan_document(FLEET)
    diff = diff_plans(PlanSource(name="a", document=before), PlanSource(name="b", document=read))
    assert report_page(read, resource_text, before, diff)
    assert ET.fromstring(memory_map(read)) is not None
    assert diff_text(diff)
    assert len(diff_markdown(diff)) < LIMIT
    assert json.dumps(diff_json(diff))


def test_the_map_shows_every_gpu_and_needs_no_style_of_its_reader() -> None:
    picture = memory_map(plan_document(FLEET))
    assert "prefers-color-scheme" not in picture
    for words in ("atlas", "GPU 0 RTX 4090", "18.0 GiB / 24.0 GiB", "chat-0", "rerank-0", "Weights"):
        assert words in picture


def test_a_large_fleet_is_drawn_small() -> None:
    many = tuple(host(f"node-{number:03}", *["NVIDIA H200"] * 8) for number in range(100))
    picture = memory_map(plan_document(plan(instance("chat", where="node-000"), hosts=many)))
    assert int(ET.fromstring(picture).attrib["height"]) < 2000
    assert "node-099" in picture


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert page(FLEET) == page(FLEET)
    assert memory_map(plan_document(FLEET)) == memory_map(plan_document(FLEET))


@pytest.mark.parametrize(
    ("model", "short"),
    [("NVIDIA GeForce RTX 4090", "RTX 4090"), ("NVIDIA H200", "H200"), ("NVIDIA ", "NVIDIA "), ("custom", "custom")],
)
def test_cards_are_named_short(model: str, short: str) -> None:
    assert short_name(model) == short


def test_the_sum_of_a_resident_is_its_memory() -> None:
    stated = replace(shard("atlas"), memory=replace(shard("atlas").memory, gpus=(DeviceMemory(stated=GIB),)))
    (atlas, _) = fleet(plan_document(plan(instance("x", 0, stated))))
    assert atlas.gpus[0].residents[0].parts() == (("stated", GIB),)
    assert memory(1).total == GIB


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(report_command.command, list(words))
    status = result.exception.status if isinstance(result.exception, Exit) else result.exit_code
    return status, result.stdout, result.stderr


def test_the_command_writes_the_page_and_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.json").write_text(plan_text(FLEET))
    Path("old.json").write_text(plan_text(plan(instance("chat"))))
    status, out, _ = run("plan.json", "-o", "report.html", "--svg", "map.svg", "--before", "old.json")
    assert (status, out) == (0, "wrote report.html\nwrote map.svg\n")
    assert "v-before" in Path("report.html").read_text()
    assert Path("map.svg").read_text().startswith("<svg")


def test_the_command_wants_to_know_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plan.json").write_text(plan_text(FLEET))
    status, _, err = run("plan.json")
    assert status == 2
    assert "-o FILE.html" in err


def test_a_plan_that_is_not_there_is_status_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("nothing", "-o", "x.html", "--format", "json")
    assert status == 4
    assert json.loads(out)["diagnostics"][0]["code"] == "GS853"
    assert not Path("x.html").exists()
