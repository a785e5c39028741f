"""The numbers that vLLM itself gave, and what gslc says to the same questions: one table for tests and for the bench."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.vllm_models import H200, TRUTH, files_of

from gslc.ir.inputs import GpuKind
from gslc.memory.vllm.budget import requested_bytes
from gslc.memory.vllm.context import derived_max_tokens
from gslc.memory.vllm.fit import Fit, Wish, fit
from gslc.memory.vllm.kv import cache_pool
from gslc.memory.vllm.legality import Terms, refusals
from gslc.memory.vllm.shape import read_shape
from gslc.memory.vllm.weights import rank_weights

MIB = 1 << 20
RANKS_VERSION = "0.32.0"
CARDS_VERSION = "0.26.0"
POOL_PER_CENT = 2
POOL_BYTES = 256 * MIB
CONTEXT_PER_CENT = 2
MILLIONTHS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One number beside the other."""

    name: str
    question: str
    real: str
    ours: str
    agrees: bool


def rows_of(file: str) -> Any:
    """The rows of a truth file."""
    return json.loads((TRUTH / file).read_text(encoding="utf-8"))["rows"]


def layouts(file: str = "vllm_ranks.json", version: str = RANKS_VERSION) -> Iterator[Agreement]:
    """Legality, parameter bytes and cache bytes of every model and tensor-parallel size."""
    for name, rows in rows_of(file).items():
        shape = read_shape(files_of(name))
        for row in rows:
            ranks = row["tp"]
            against = refusals(shape, ranks, 1, Terms(version=version))
            title = f"{name} tp {ranks}"
            yield Agreement(
                name=title,
                question="accepted",
                real="yes" if row["ok"] else "no",
                ours="no" if against else "yes",
                agrees=row["ok"] is not bool(against),
            )
            if "bytes" not in row:
                continue
            dtype = row.get("dtype")
            ours = rank_weights(shape, ranks, dtype=dtype)[0].total_bytes
            exact = not shape.quantization.method
            limit = 0 if exact else row["bytes"] // 1000
            yield Agreement(
                name=title,
                question="weights",
                real=f"{row['bytes']:,}",
                ours=f"{ours:,}",
                agrees=abs(ours - row["bytes"]) <= limit,
            )
            pool = cache_pool(shape, tuple(range(shape.layers)), ranks, value_bytes=2)
            kept = sorted((kind.token_bytes or kind.fixed_bytes, kind.window, kind.layers) for kind in pool.kinds)
            real = sorted((size, window, layers) for _, size, window, layers in row["kv"])
            yield Agreement(name=title, question="cache", real=str(real), ours=str(kept), agrees=kept == real)


def on_cards() -> Iterator[Agreement]:
    """Starts or refuses, KV pool and longest context on real cards."""
    for row in rows_of("vllm_h200.json"):
        scenario = row["scenario"]
        title = f"{row['model']} {' '.join(f'{key}={value}' for key, value in scenario.items())}"
        files = files_of(row["model"])
        ceiling = derived_max_tokens(files, CARDS_VERSION)
        automatic = scenario["max_model_len"] == -1
        counted = counted_like(row, H200)
        starts = counted.longest(ceiling) > 0 if automatic else counted.starts and counted.context <= ceiling
        yield Agreement(
            name=title,
            question="starts",
            real="yes" if row["starts"] else "no",
            ours="yes" if starts else "no",
            agrees=starts is row["starts"],
        )
        for rank in row["ranks"]:
            ours = counted.ranks[rank["rank"]].pool
            real = rank["kv_available"]
            limit = max(real * POOL_PER_CENT // 100, POOL_BYTES)
            yield Agreement(
                name=f"{title} rank {rank['rank']}",
                question="KV pool",
                real=f"{real // MIB:,} MiB",
                ours=f"{ours // MIB:,} MiB",
                agrees=abs(ours - real) <= limit,
            )
        if automatic and row["starts"]:
            longest, real_length = counted.longest(ceiling), row["max_model_len"]
            near = abs(longest - real_length) * 100 <= real_length * CONTEXT_PER_CENT
            yield Agreement(
                name=title,
                question="longest context",
                real=f"{real_length:,}",
                ours=f"{longest:,}",
                agrees=near and longest <= real_length,
            )


def counted_like(row: Any, kind: GpuKind) -> Fit:
    """What gslc counts for one measured row; the row's utilisation is finer than a thousandth, so the card is scaled."""
    scenario = row["scenario"]
    files = files_of(row["model"])
    tensor, stages = scenario.get("tp", 1), scenario.get("pp", 1)
    share = 900
    requested = (
        row["ranks"][0]["requested"]
        if row["ranks"]
        else -(-kind.memory_bytes * round(row["gpu_memory_utilization"] * MILLIONTHS) // MILLIONTHS)
    )
    scaled = -(-requested * 1000 // share)
    while requested_bytes(scaled, share) > requested:
        scaled -= 1
    card = GpuKind(
        model=kind.model, vendor=kind.vendor, memory_bytes=scaled, compute_capability=kind.compute_capability
    )
    wish = Wish(
        context=derived_max_tokens(files, CARDS_VERSION)
        if scenario["max_model_len"] == -1
        else scenario["max_model_len"],
        terms=Terms(version=CARDS_VERSION),
        parallel=scenario.get("mns", 1024),
        batched_tokens=scenario.get("mnbt", 8192),
        utilization=share,
        eager=bool(scenario.get("eager")),
    )
    ranks = tensor * stages
    return fit(files, read_shape(files), (card,) * ranks, tensor, stages, wish, capacities=(kind.memory_bytes,) * ranks)
