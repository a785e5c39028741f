"""Measured memory of llama.cpp (tests/data/truth), and how far the estimates are from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gslc.engines.llama_profile import EngineProfile, profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.facts import GgufFacts, TensorGroup
from gslc.memory.gguf.footprint import Device, Footprint, footprint
from gslc.memory.gguf.shape import ModelShape

DATA = Path(__file__).parents[1] / "data" / "truth"
MIB = 1 << 20
MEASURED = "b11370"  # commit 0c1e57098
LOGITS_PER_TOKEN = "b9000"  # rows with `outputs: 0` were measured as engines before PR 23861 behave


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One device (or the host) of one measured row beside its estimate, in bytes."""

    model: str
    mode: str
    device: str
    kind: str
    weights: tuple[int, int]  # estimated, measured
    kv_cache: tuple[int, int]
    compute: tuple[int, int]
    total: tuple[int, int]
    driver: tuple[int, int] | None = None  # all that the process takes on the card, after full batches

    @property
    def error(self) -> float:
        """Relative error of weights, cache and compute together; above 0: too much was estimated."""
        return (self.total[0] - self.total[1]) / self.total[1] if self.total[1] else float(self.total[0] > 0)

    @property
    def kv_exact(self) -> bool:
        """The cache is right to the byte."""
        return self.kv_cache[0] == self.kv_cache[1]

    @property
    def weights_exact(self) -> bool:
        """The weights are within 0.01 %."""
        return abs(self.weights[0] - self.weights[1]) <= self.weights[1] / 10_000


@cache
def model_facts(name: str) -> GgufFacts:
    """The header of a measured model."""
    row = _models()[name]
    return GgufFacts(
        architecture=row["architecture"],
        hyper={key: tuple(value) if isinstance(value, list) else value for key, value in row["hyper"].items()},
        vocabulary_size=row["vocabulary_size"],
        tensors=tuple(TensorGroup(name=n, type=t, shape=tuple(s), blocks=_blocks(b)) for n, t, s, b in row["tensors"]),
        header_sha256="",
        header_bytes=0,
        file_bytes=row["file_bytes"],
    )


@cache
def model_shape(name: str) -> ModelShape:
    """The shape of a measured model."""
    return ModelShape(model_facts(name))


@cache
def _models() -> dict:
    return json.loads((DATA / "gguf_models.json").read_text(encoding="utf-8"))


def _blocks(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


@cache
def rows(name: str) -> list[dict]:
    """The rows of a truth file; read once, so to be left as they are."""
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))["rows"]


def settings_of(given: dict) -> LlamaSettings:
    """The settings of a measured row."""
    split = given.get("ts")
    return LlamaSettings(
        context_tokens=given["ctx"],
        parallel=given.get("np", 1),
        unified=given.get("unified", False),
        batch=given.get("b") or 2048,
        ubatch=given.get("ub") or 512,
        flash=given.get("fa") or "auto",
        key_type=given.get("ctk") or "f16",
        value_type=given.get("ctv") or "f16",
        gpu_layers=given["ngl"],
        tensor_split=tuple(float(part) for part in split.split(",")) if split else None,
        split_mode=given.get("sm") or "layer",
        main_gpu=given.get("mg") or 0,
        cpu_moe_layers=given.get("ncmoe") or 0,
        kv_offload=not given.get("nkvo"),
        embedding=bool(given.get("embd")),
        swa_full=bool(given.get("swa_full")),
        repack=given.get("repack") is not False,
        cache_ram_mib=0,
    )


def engine_of(given: dict) -> EngineProfile:
    """The engine profile of a measured row."""
    profile = profile_of("llama.cpp", LOGITS_PER_TOKEN if given.get("outputs") == 0 else MEASURED)
    assert profile is not None
    return profile


def estimated(row: dict, vendor: str | None) -> Footprint:
    """The estimate of a measured row, on cards of this vendor (None: the stand-ins of the first truth file)."""
    given = row["set"]
    devices = tuple(Device(vendor=vendor) for _ in range(given["dev"]))  # type: ignore[arg-type]
    return footprint(model_shape(row["model"]), settings_of(given), engine_of(given), devices)


def kind_of(given: dict, blocks: int) -> str:
    """The class of a row in the published table."""
    if given.get("embd"):
        return "encoders and rerankers"
    if given.get("ncmoe"):
        return "experts on the CPU"
    if given["dev"] and given["ngl"] <= blocks:
        return "partial offload" if given["ngl"] else "nothing offloaded"
    if given["dev"] > 1:
        return "several devices"
    return "one device" if given["dev"] else "CPU"


@cache
def estimates(name: str, vendor: str | None) -> tuple[tuple[dict, Footprint], ...]:
    """Every row of a truth file with its estimate."""
    return tuple((row, estimated(row, vendor)) for row in rows(name))


@cache
def compare(name: str, vendor: str | None) -> tuple[Comparison, ...]:
    """Every device and host of a truth file beside its estimate."""
    found = []
    for row, answer in estimates(name, vendor):
        for device, measured in row["memory"].items():
            index = -1 if device == "host" else int("".join(c for c in device if c.isdigit()))
            memory = answer.host if device == "host" else answer.devices[index]
            # the output buffer is listed beside the compute buffers in these files
            compute = memory.compute - (answer.output_bytes if device == "host" else 0)
            parts = (memory.weights, memory.kv_cache, compute)
            truth = (measured["model"], measured["context"], measured["compute"])
            used = measured.get("driver_used_after_batches")
            found.append(
                Comparison(
                    model=row["model"],
                    mode=row.get("mode", "real"),
                    device=device,
                    kind=kind_of(row["set"], model_shape(row["model"]).blocks),
                    weights=(parts[0], truth[0]),
                    kv_cache=(parts[1], truth[1]),
                    compute=(parts[2], truth[2]),
                    total=(sum(parts), sum(truth)),
                    driver=(memory.total, used) if used else None,
                )
            )
    return tuple(found)


def share(flags: list[bool]) -> float:
    """The share of true entries, in percent."""
    return 100.0 * sum(flags) / len(flags) if flags else 100.0


def percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of the entries do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A figure that this project publishes, and the limit it must keep."""

    text: str
    limit: str
    value: str
    kept: bool


def promises() -> list[Promise]:
    """Every published figure of the GGUF estimates."""
    every = compare("llamacpp", None)
    cuda = compare("llamacpp_cuda", "nvidia")
    devices = [c for c in every if c.device != "host"]
    cards = [c for c in cuda if c.device != "host"]
    hosts = [c for c in every if c.device == "host" and c.mode == "real"]
    errors = [abs(c.error) for c in devices]
    found = [
        _least("KV cache per device exact to the byte", share([c.kv_exact for c in devices + cards]), 99.0),
        _least("weights per device within 0.01 %", share([c.weights_exact for c in devices + cards]), 99.0),
        _most("weights + KV + compute per device, median error", 100 * percentile(errors, 50), 0.2),
        _most("weights + KV + compute per device, 95th percentile", 100 * percentile(errors, 95), 2.0),
        _most("rows more than 2 % too low", share([c.error < -0.02 for c in devices]), 1.0),
        _most(
            "host memory of really allocated rows, 95th percentile",
            100 * percentile([abs(c.error) for c in hosts], 95),
            5.0,
        ),
    ]
    beyond = [_beyond(c) for c in cards]
    low = [max(0.0, (c.driver[1] - c.driver[0]) / MIB) for c in cards if c.driver]
    found.append(
        _most(
            "CUDA, all memory of the process: 95th percentile of the error over max(2 %, 48 MiB)",
            100 * percentile(beyond, 95),
            100.0,
        )
    )
    found.append(
        Promise(
            text="CUDA, all memory of the process: most that is too low",
            limit="<= 64 MiB",
            value=f"{max(low):.1f} MiB",
            kept=max(low) <= 64,
        )
    )
    return found


def _beyond(comparison: Comparison) -> float:
    assert comparison.driver is not None
    estimate, used = comparison.driver
    return abs(estimate - used) / max(used * 0.02, 48 * MIB)


def _least(text: str, value: float, limit: float) -> Promise:
    return Promise(text=text, limit=f">= {limit:g} %", value=f"{value:.2f} %", kept=value >= limit)


def _most(text: str, value: float, limit: float) -> Promise:
    return Promise(text=text, limit=f"<= {limit:g} %", value=f"{value:.2f} %", kept=value <= limit)


def markdown() -> str:
    """The published tables."""
    lines = ["| figure | limit | measured |", "|---|---|---|"]
    lines += [f"| {p.text} | {p.limit} | {p.value} |" for p in promises()]
    lines += [
        "",
        "| rows | entries | median | 95th percentile | most too low | most too high |",
        "|---|---|---|---|---|---|",
    ]
    every = [c for c in compare("llamacpp", None) if c.device != "host"]
    for kind in sorted({c.kind for c in every}):
        lines.append(_table_row(kind, [c for c in every if c.kind == kind]))
    lines += [
        "",
        "| model | entries | median | 95th percentile | most too low | most too high |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_table_row(model, [c for c in every if c.model == model]) for model in sorted({c.model for c in every})]
    return "\n".join(lines) + "\n"


def _table_row(name: str, group: list[Comparison]) -> str:
    errors = [100 * abs(c.error) for c in group]
    low = max(0.0, *(-100 * c.error for c in group))
    high = max(0.0, *(100 * c.error for c in group))
    return (
        f"| {name} | {len(group)} | {percentile(errors, 50):.3f} % | {percentile(errors, 95):.2f} % "
        f"| {low:.2f} % | {high:.2f} % |"
    )
