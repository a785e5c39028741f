"""The change that is proposed for a replica without a place: what is tried, in which order, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from small_fleets import EMPTY_LOCK, GIB, candidates_of, cluster, host, model, need

from gslc.ir.diagnostic import Decision, Diagnostic, Excluded
from gslc.ir.facts import FileFact, GgufFacts, ModelFacts, OtherQuantization
from gslc.ir.inputs import Source
from gslc.ir.placement import Candidates, Choice, HostClass, Options, PartNeed, Request
from gslc.ir.plan import DeviceMemory, Layout
from gslc.passes.place import place_models

BOGUS = 0.5  # GiB: a file that is no quantisation of the model
CONTEXT_BYTES = 1 << 17  # a token
ASKED: list[int | None] = []  # file sizes that the backend was asked about


def facts(size: int, others: Mapping[str, float]) -> ModelFacts:
    gguf = GgufFacts(
        architecture="llama", hyper={}, vocabulary_size=1, tensors=(), header_sha256="", header_bytes=0, file_bytes=size * GIB
    )  # fmt: skip
    return ModelFacts(
        source="hf://o/r:Q8_0", revision=None, kind="chat", kind_reason="", gguf=gguf,
        files=(FileFact(path="m.gguf", size_bytes=size * GIB),),
        other_quantizations=tuple(OtherQuantization(name=name, size_bytes=int(gib * GIB)) for name, gib in others.items()),
    )  # fmt: skip


def options(request: Request, host_class: HostClass) -> Options:
    """One card that holds the file and the context."""
    assert request.facts is not None
    assert request.facts.gguf is not None
    ASKED.append(request.assumed_file_bytes)
    if request.assumed_file_bytes == BOGUS * GIB:
        return Options(refused=(Excluded(what="another quantisation", rule="file-size", detail="too few bytes"),))
    size = request.assumed_file_bytes or request.facts.gguf.file_bytes
    memory = DeviceMemory(stated=size + (request.model.context or 8192) * CONTEXT_BYTES)
    fixed = [Choice(rank=0, label="one GPU", parts=(PartNeed(gpus=(memory,), host=DeviceMemory()),), layout=Layout())]
    if request.model.cpu_offload:
        fixed.append(
            Choice(rank=4, label="CPU", parts=(PartNeed(gpus=(), host=memory),), layout=Layout(), offloaded_bytes=size)
        )
    return Options(fixed=tuple(fixed))


def refused(
    size: int,
    others: Mapping[str, float],
    source: str = "hf://o/r:Q8_0",
    cards: tuple[int, ...] = (12,),
    **keys: object,
) -> tuple[Diagnostic, Decision]:
    """What is said of a model of that size on a host with these cards, GiB all."""
    ASKED.clear()
    given = Source(kind="hf", text=source, repository="o/r", revision=None, quantization="Q8_0")
    fleet = cluster([host("atlas", cards, memory=64)], [model("m", need(1, 1), **keys)])
    known = facts(size, others)

    def changed(entry: Candidates) -> Candidates:
        named = replace(entry.request.model, source=given, backend=None, requirements=())
        request = replace(entry.request, model=named, facts=known)
        made = {group.host_class: options(request, group.host_class) for group in entry.groups}
        return replace(entry, request=request, options=made, vary=options)

    outcome = place_models(tuple(changed(entry) for entry in candidates_of(fleet)), fleet, EMPTY_LOCK)
    (diagnostic,) = [one for one in outcome.diagnostics if one.severity == "error"]
    (decision,) = [one for one in outcome.decisions if one.topic == "seat"][:1]
    return diagnostic, decision


def tried(decision: Decision) -> list[str]:
    return [one.what for one in decision.rejected if isinstance(one, Excluded) and one.rule == "tried"]


def test_the_largest_quantisation_that_has_a_place_is_proposed() -> None:
    diagnostic, decision = refused(16, {"Q2_K": 5, "Q3_K_M": 7, "Q4_K_M": 9, "Q5_K_M": 11, "Q6_K": 13, "F16": 30})
    assert diagnostic.code == "GS402"
    assert diagnostic.help == (
        "use another quantisation: set models.m.source to hf://o/r:Q5_K_M (11.00 GiB instead of 16.00 GiB: "
        "judged by the size of its file, it fits atlas)"
    )
    assert decision.evidence == (
        ("change", "hf://o/r:Q5_K_M"), ("present_file_bytes", 16 * GIB), ("other_file_bytes", 11 * GIB),
    )  # fmt: skip
    assert "hf://o/r:Q6_K" in tried(decision)
    assert "hf://o/r:F16" not in tried(decision)


def test_what_was_tried_in_vain_is_in_the_decision_in_order() -> None:
    _, decision = refused(16, {"Q6_K": 13, "Q5_K_M": 11})
    assert tried(decision) == ["context 4096", "context 2048", "context 1024", "hf://o/r:Q6_K"]


def test_a_shorter_context_goes_before_another_quantisation() -> None:
    diagnostic, decision = refused(11, {"Q4_K_M": 6}, context=16384)
    assert diagnostic.help == "set models.m.context to 8192"
    assert decision.evidence == (("change", "context 8192"),)


def test_another_quantisation_goes_before_offload_and_cards() -> None:
    diagnostic, _ = refused(13, {"Q4_K_M": 6})
    assert diagnostic.help is not None
    assert diagnostic.help.startswith("use another quantisation: set models.m.source to hf://o/r:Q4_K_M")


def test_where_no_quantisation_fits_the_next_change_is_proposed() -> None:
    diagnostic, decision = refused(40, {"Q6_K": 30, "Q4_K_M": 20})
    assert diagnostic.help == "set models.m.cpu_offload to true"
    assert "hf://o/r:Q4_K_M" in tried(decision)  # the smallest answers for the larger one
    assert "hf://o/r:Q6_K" not in tried(decision)
    assert decision.evidence == (("change", "cpu_offload"),)


def test_a_larger_quantisation_is_no_help() -> None:
    diagnostic, decision = refused(13, {"F16": 26})
    assert diagnostic.help == "set models.m.cpu_offload to true"
    assert not any("F16" in what for what in tried(decision))


def test_without_a_list_in_the_lock_nothing_is_said_of_quantisations() -> None:
    diagnostic, _ = refused(13, {})
    assert diagnostic.help == "set models.m.cpu_offload to true"


def test_a_file_that_is_too_small_to_be_the_model_says_nothing_of_the_others() -> None:
    diagnostic, decision = refused(16, {"Q1_0": BOGUS, "Q4_K_M": 9, "Q6_K": 13})
    assert diagnostic.help is not None
    assert "hf://o/r:Q4_K_M " in diagnostic.help
    assert "hf://o/r:Q1_0" not in tried(decision)


def test_a_long_list_costs_a_few_tries() -> None:
    others = {f"Q{number}": number for number in range(1, 49)}
    diagnostic, _ = refused(50, others)
    assert diagnostic.help is not None
    assert "hf://o/r:Q11 " in diagnostic.help
    assert len({size for size in ASKED if size is not None}) <= 7


def test_all_missing_replicas_must_fit() -> None:
    diagnostic, _ = refused(13, {"Q5_K_M": 11, "Q2_K": 5}, replicas=2)
    assert diagnostic.help is not None
    assert "hf://o/r:Q2_K " in diagnostic.help
    both, _ = refused(13, {"Q5_K_M": 10, "Q2_K": 5}, replicas=2, cards=(12, 12))
    assert both.help is not None
    assert "hf://o/r:Q5_K_M " in both.help


def test_a_file_is_named_by_its_path() -> None:
    diagnostic, _ = refused(13, {"x/m-Q4_K_M-00001-of-00002.gguf": 6})
    assert diagnostic.help is not None
    assert "source to hf://o/r/x/m-Q4_K_M-00001-of-00002.gguf (6.00 GiB" in diagnostic.help
