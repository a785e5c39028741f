"""Many models at once: parallel, with progress, and what succeeded is kept."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from hub_server import HubServer
from model_files import llama_gguf, transformers_repository
from sources import model

from gslc.documents.lock import read_lock, write_lock
from gslc.edges.facts import FetchProgress, facts_current, fetch_all, fetch_facts
from gslc.edges.hub import HubSettings
from gslc.ir.diagnostic import Place
from gslc.ir.facts import ModelFacts
from gslc.ir.lock import Lock


class Lines:
    """Every model's source on a line of its own."""

    def at(self, *path: str | int) -> Place:
        return Place(file="cluster.yaml", line=int(str(path[1]).removeprefix("m")) + 1)

    def key(self, *path: str | int) -> Place:
        return self.at(*path)


def published(hub: HubServer, count: int) -> list[object]:
    """Models of four kinds, each in a repository of its own."""
    models = []
    for number in range(count):
        name = f"o/r{number}"
        if number % 4 == 0:
            hub.add("hf", name, transformers_repository({"vocab_size": 100 + number}, shards=1 + number % 3))
            text = f"hf://{name}"
        elif number % 4 == 1:
            hub.add("hf", name, {"m-Q4_K_M.gguf": llama_gguf(tokens=number + 1)})
            text = f"hf://{name}:Q4_K_M"
        elif number % 4 == 2:
            hub.add("modelscope", name, {"m.gguf": llama_gguf(tokens=number + 1)})
            text = f"modelscope://{name}"
        else:
            hub.add_ollama(f"r{number}", "7b", llama_gguf(tokens=number + 1))
            text = f"ollama://r{number}:7b"
        models.append(model(text, f"m{number}"))
    return models


def test_two_hundred_models_over_a_slow_line_take_fifteen_seconds() -> None:
    with HubServer(latency=0.05) as hub:
        models = published(hub, 200)
        moments: list[FetchProgress] = []
        started = time.monotonic()
        outcome = fetch_all(models, hub.settings(), places=Lines(), progress=moments.append)
        assert time.monotonic() - started <= 15
        assert outcome.value is not None
        assert len(outcome.value) == 200
        assert outcome.diagnostics == ()
        finished = [moment for moment in moments if moment.state == "done"]
        assert [moment.done for moment in finished] == list(range(1, 201))
        asked = len(hub.requests)
        text = write_lock(Lock(cluster="a", facts=outcome.value))
        lock = read_lock(text, "gslc.lock", "a").value
        assert lock is not None
        missing = [one for one in models if not facts_current(one, lock.facts[one.name])]
        assert missing == []
        assert len(hub.requests) == asked


def test_the_order_of_models_and_the_number_of_workers_change_nothing() -> None:
    with HubServer() as hub:
        models = published(hub, 16)
        first = fetch_all(models, hub.settings(), workers=1).value
        second = fetch_all(list(reversed(models)), hub.settings(), workers=8).value
        assert first == second


def test_a_failure_leaves_what_succeeded_and_names_the_place() -> None:
    with HubServer() as hub:
        models = published(hub, 8)
        hub.fault("/o/r4", "status", times=100, status=500)
        del hub.repositories["modelscope", "o/r6"]
        outcome = fetch_all(models, hub.settings(), places=Lines())
        assert outcome.value is not None
        assert sorted(outcome.value) == ["m0", "m1", "m2", "m3", "m5", "m7"]
        assert [(found.code, found.place.line) for found in outcome.diagnostics] == [("GS801", 5), ("GS252", 7)]
        again = fetch_all([one for one in models if one.name not in outcome.value][:1], hub.settings())
        assert again.value == {}


def test_models_of_one_source_are_fetched_once_and_each_is_warned_of() -> None:
    with HubServer() as hub:
        hub.add("hf", "o/old", {"config.json": b"{}", "pytorch_model.bin": b"x" * 20_000})
        outcome = fetch_all([model("hf://o/old", "m1"), model("hf://o/old", "m2")], hub.settings(), places=Lines())
        assert hub.asked("/api/models/") == 1
        assert outcome.value is not None
        assert outcome.value["m1"] == outcome.value["m2"]
        assert [(found.place.line, found.message[:10]) for found in outcome.diagnostics] == [
            (2, "model 'm1'"),
            (3, "model 'm2'"),
        ]


def test_a_second_run_gives_the_same_bytes() -> None:
    with HubServer() as hub:
        models = published(hub, 12)
        texts = {write_lock(Lock(cluster="a", facts=fetch_all(models, hub.settings()).value or {})) for _ in range(2)}
        assert len(texts) == 1


def test_no_model_is_no_work() -> None:
    assert fetch_all([], HubSettings()).value == {}


def test_offline_opens_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    file = llama_gguf()
    (tmp_path / "m.gguf").write_bytes(file.part(0, file.size))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    settings = HubSettings(offline_flag="--offline")
    for text in ("hf://o/m", "modelscope://o/m", "ollama://m:7b"):
        (diagnostic,) = fetch_facts(model(text), settings).diagnostics
        assert diagnostic.code == "GS250"
        assert "model 'chat'" in diagnostic.message
        assert "--offline" in diagnostic.message
    assert fetch_facts(model(f"file://{tmp_path}/m.gguf"), settings).value is not None


def test_an_interrupt_ends_the_run_and_starts_nothing_more() -> None:
    with HubServer(latency=0.05) as hub:
        models = published(hub, 40)

        def interrupt(moment: FetchProgress) -> None:
            if moment.state == "done":
                raise KeyboardInterrupt

        kept: dict[str, ModelFacts] = {}
        with pytest.raises(KeyboardInterrupt):
            fetch_all(models, hub.settings(), workers=2, progress=interrupt, arrived=kept.__setitem__)
        assert len(kept) == 1
        assert all(facts_current(one, kept[one.name]) for one in models if one.name in kept)
        asked = len(hub.requests)
        time.sleep(0.2)
        assert len(hub.requests) == asked < 60
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("gslc-fetch")]


def test_settings_of_the_process_are_values() -> None:
    settings = HubSettings(environment={"A": " 1 ", "B": "", "C": "yes", "D": "no"})
    assert (settings.variable("A"), settings.variable("B"), settings.variable("Z")) == ("1", None, None)
    assert [name for name in "ABCDZ" if settings.switched_on(name)] == ["A", "C"]
