"""GGUF headers: what is kept, what is refused and where, and that no input does worse than an error."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc

import pytest
from gguf import GGML_QUANT_SIZES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from malformed_gguf import cases
from model_files import gguf, llama_gguf, llama_split, llama_tensors, projector_gguf, text, value_of
from pace import pace

from gslc.documents.lock import read_lock, write_lock
from gslc.edges.gguf_header import read_header
from gslc.edges.gguf_model import gguf_facts, read_gguf_header
from gslc.edges.header_cursor import HeaderError
from gslc.edges.ranges import BytesReader
from gslc.edges.tensor_groups import RawTensor, expand
from gslc.ir.facts import FileFact, GgufFacts, ModelFacts
from gslc.ir.lock import Lock
from gslc.ir.tensor_types import GGML_TYPES, ggml_group_bytes

CORPUS = list(cases())


class SparseReader:
    """A sparse file, and what was read of it."""

    def __init__(self, head: bytes, size: int, name: str = "m.gguf") -> None:
        self.name, self.size_bytes, self._head, self.read_bytes, self.largest = name, size, head, 0, 0

    def read(self, offset: int, length: int) -> bytes:
        length = min(length, self.size_bytes - offset)
        self.read_bytes += length
        self.largest = max(self.largest, length)
        part = self._head[offset : offset + length]
        return part + bytes(length - len(part))


class Shrinking(SparseReader):
    """A file whose end is gone by the time it is read."""

    def read(self, offset: int, length: int) -> bytes:
        return super().read(offset, length) if offset < 100 and length < 100 else b""


def ends_in(limit_seconds: float, started: float) -> bool:
    """The CPU time since `started` is within a limit, which is longer on a slow machine; the fast need not be timed."""
    spent = time.process_time() - started
    return spent < limit_seconds or spent < limit_seconds * pace()


def facts_of(raw: bytes) -> GgufFacts:
    return read_gguf_header(BytesReader(raw))


def content(file: object) -> bytes:
    return file.part(0, file.size)  # type: ignore[attr-defined]


def test_a_header_gives_hyper_parameters_tensors_and_vocabulary() -> None:
    file = llama_gguf(blocks=3, tokens=77)
    facts = read_gguf_header(SparseReader(file.head, file.size))
    assert facts.architecture == "llama"
    assert facts.block_count == 3
    assert facts.vocabulary_size == 77
    assert facts.hyper["llama.embedding_length"] == 256
    assert facts.hyper["tokenizer.ggml.model"] == "gpt2"
    assert (facts.header_bytes, facts.file_bytes) == (len(file.head), file.size)
    assert set(expand(facts.tensors)) == {
        RawTensor(name, kind, shape) for name, shape, kind in llama_tensors(3, 256, 256, 512, 256)
    }


def test_templates_and_vocabularies_are_never_kept() -> None:
    facts = read_gguf_header(BytesReader(content(llama_gguf())))
    assert not any("template" in key or key.startswith("tokenizer.ggml.tokens") for key in facts.hyper)


def test_the_class_sums_equal_the_file() -> None:
    file = llama_gguf(blocks=5)
    facts = read_gguf_header(SparseReader(file.head, file.size))
    assert facts.header_bytes + sum(map(ggml_group_bytes, facts.tensors)) == file.size


def test_per_layer_lists_are_kept_and_long_ones_dropped() -> None:
    file = gguf(
        {"general.architecture": "x", "x.head_count_kv": [8, 0, 8], "x.long": list(range(5000)), "x.words": ["a", "b"]}
    )
    hyper = facts_of(content(file)).hyper
    assert hyper["x.head_count_kv"] == (8, 0, 8)
    assert hyper["x.words"] == ("a", "b")
    assert "x.long" not in hyper


def test_a_list_of_lists_is_walked_over() -> None:
    inner = struct.pack("<IQ", 4, 2) + struct.pack("<II", 1, 2)
    nested = text("x.nested") + struct.pack("<IIQ", 9, 9, 2) + inner + inner
    raw = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 3)
        + text("general.architecture")
        + value_of("x")
        + nested
        + text("x.n")
        + value_of(7)
    )
    assert facts_of(raw + bytes(64)).hyper == {"general.architecture": "x", "x.n": 7}


def test_the_vocabulary_size_falls_back_to_its_key() -> None:
    assert facts_of(content(gguf({"general.architecture": "x", "x.vocab_size": 9}))).vocabulary_size == 9
    assert facts_of(content(gguf({"general.architecture": "x"}))).vocabulary_size == 0


def test_a_number_that_is_no_number_becomes_text() -> None:
    facts = facts_of(content(gguf({"general.architecture": "x", "x.a": float("nan"), "x.b": float("inf")})))
    assert (facts.hyper["x.a"], facts.hyper["x.b"]) == ("nan", "inf")


def test_a_long_text_is_no_hyper_parameter() -> None:
    words = gguf({"general.architecture": "x", "x.words": ["w" * 3000, "w" * 3000, "w"], "x.n": 1})
    assert facts_of(content(words)).hyper == {"general.architecture": "x", "x.n": 1}
    assert "x.licence" not in facts_of(content(gguf({"general.architecture": "x", "x.licence": "w" * 5000}))).hyper


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("order", ["<", ">"])
def test_versions_2_and_3_are_read_in_both_orders(version: int, order: str) -> None:
    file = gguf({"general.architecture": "x", "x.n": 5}, [("a", (32,), "F32")], version=version, order=order, tokens=4)
    header = read_header(SparseReader(file.head, file.size))
    assert (header.version, header.big_endian, header.hyper["x.n"], header.vocabulary_size) == (
        version,
        order == ">",
        5,
        4,
    )


def test_a_big_endian_file_is_refused_by_name() -> None:
    with pytest.raises(HeaderError, match="big-endian"):
        facts_of(content(gguf({"general.architecture": "x"}, order=">")))


def test_a_file_of_stable_diffusion_needs_no_architecture() -> None:
    name = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_out.0.weight"
    facts = facts_of(content(gguf({"general.file_type": 1}, [(name, (32,), "F16")])))
    assert facts.architecture == "diffusion"


def test_all_files_of_a_split_make_one_model() -> None:
    files = llama_split(3)
    headers = [read_header(SparseReader(file.head, file.size, f"part {number}")) for number, file in enumerate(files)]
    facts = gguf_facts(headers)
    assert sum(group.count for group in facts.tensors) == 4 * 9 + 3
    assert facts.file_bytes == sum(file.size for file in files)
    assert facts.header_bytes == sum(len(file.head) for file in files)
    with pytest.raises(HeaderError, match=r"expected split\.no 0, found 1"):
        gguf_facts(
            [
                headers[1].__class__(
                    **{**_fields(headers[1]), "hyper": {**headers[1].hyper, "general.architecture": "llama"}}
                ),
                *headers[:2],
            ]
        )
    with pytest.raises(HeaderError, match=r"split\.count to be the 2 files"):
        gguf_facts(headers[:2])


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]


def test_a_tensor_in_two_files_of_a_split_is_refused() -> None:
    parts = [gguf({"general.architecture": "x", "split.no": n, "split.count": 2}, [("t", (1,), "F32")]) for n in (0, 1)]
    with pytest.raises(HeaderError, match="in an earlier file"):
        gguf_facts([read_header(BytesReader(content(file))) for file in parts])


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    file = llama_gguf()
    with pytest.raises(HeaderError, match="the file ends here although"):
        read_header(Shrinking(file.head, file.size))


def test_a_vocabulary_that_no_model_has_is_none() -> None:
    assert facts_of(content(gguf({"general.architecture": "x", "x.vocab_size": (1 << 32) - 1}))).vocabulary_size == 0


def test_a_split_whose_tensors_are_not_all_there_is_refused() -> None:
    first, second = (
        gguf(
            {"general.architecture": "x", "split.no": n, "split.count": 2, "split.tensors.count": 3},
            [(f"t{n}", (1,), "F32")],
        )
        for n in (0, 1)
    )
    with pytest.raises(HeaderError, match="expected 3 tensors in all files of the split, found 2"):
        gguf_facts([read_header(BytesReader(content(file))) for file in (first, second)])


def test_the_header_hash_depends_on_every_byte_of_the_header_and_on_nothing_else() -> None:
    file = llama_gguf(tokens=10)
    first = read_header(SparseReader(file.head, file.size), chunk_bytes=64)
    again = read_header(SparseReader(file.head, file.size))
    assert first == again
    changed = bytearray(file.head)
    place = changed.index(b"t7")
    changed[place : place + 2] = b"u7"
    other = read_header(SparseReader(bytes(changed), file.size))
    assert other.header_sha256 != first.header_sha256
    assert other.tensors == first.tensors


def test_a_remote_file_of_40_gb_costs_one_header() -> None:
    file = llama_gguf(blocks=80, tokens=130_000, width=8192, inner=28672, kv=1024)
    assert file.size > 38 * 10**9
    reader = SparseReader(file.head, file.size)
    read_header(reader, limit_bytes=64 << 20, chunk_bytes=2 << 20)
    assert reader.read_bytes <= 16 << 20
    assert reader.largest <= 4 << 20


def test_a_header_over_the_limit_is_not_read_on() -> None:
    file = llama_gguf(tokens=50_000)
    reader = SparseReader(file.head, file.size)
    with pytest.raises(HeaderError, match="as far as it is read"):
        read_header(reader, limit_bytes=1 << 16, chunk_bytes=1 << 14)
    assert reader.read_bytes <= 1 << 16


def test_a_long_key_is_walked_over_without_being_held() -> None:
    file = gguf({"general.architecture": "x", "tokenizer.huge": "w" * (8 << 20)})
    tracemalloc.start()
    read_header(SparseReader(file.head, file.size), chunk_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 << 20


def test_the_last_tensor_needs_no_padding() -> None:
    file = gguf({"general.architecture": "x"}, [("a", (3,), "F32")])
    whole = content(file)
    assert facts_of(whole[:-20]).file_bytes == file.size - 20
    with pytest.raises(HeaderError, match="cut off"):
        facts_of(whole[:-21])


def test_a_projector_has_its_architecture() -> None:
    assert facts_of(content(projector_gguf())).architecture == "clip"


def test_the_type_table_is_ggml_s() -> None:
    ours = {kind.number: (kind.block_elements, kind.block_bytes) for name, kind in GGML_TYPES.items() if name != "Q8_1"}
    theirs = {kind.value: sizes for kind, sizes in GGML_QUANT_SIZES.items() if kind.name != "Q8_1"}
    assert {number: theirs[number] for number in ours if number in theirs} == {
        n: s for n, s in ours.items() if n in theirs
    }


# ------------------------------------------------------------------ malformed


def test_the_corpus_is_large_and_its_names_differ() -> None:
    assert len(CORPUS) >= 100
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize(
    ("raw", "words"), [(raw, words) for _, raw, words in CORPUS], ids=[name for name, _, _ in CORPUS]
)
def test_a_malformed_header_is_refused_with_its_place(raw: bytes, words: str) -> None:
    started = time.process_time()
    with pytest.raises(HeaderError) as refused:
        facts_of(raw)
    assert words in refused.value.message
    assert 0 <= refused.value.offset <= len(raw)
    assert ends_in(2, started)


def test_the_largest_header_that_is_read_ends_in_two_seconds() -> None:
    count = 8 * 1024 * 1024 - 4096
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + text("general.architecture") + value_of("x")
    raw = head + text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, count) + bytes(8 * count) + bytes(64)
    started = time.process_time()
    assert facts_of(raw).vocabulary_size == count
    assert ends_in(2, started)


@pytest.mark.parametrize(("blocks", "said"), [(0, "tensors of block 1"), (1, "tensors of block 1"), (513, "found 513")])
def test_a_block_count_that_the_tensors_or_the_engine_contradict_is_refused(blocks: int, said: str) -> None:
    raw = content(gguf({"general.architecture": "llama", "llama.block_count": blocks}, [("blk.1.a", (32, 2), "Q8_0")]))
    with pytest.raises(HeaderError, match=said):
        facts_of(raw)


# ------------------------------------------------------------------ fuzz

SEEDS = [
    content(
        gguf(
            {"general.architecture": "llama", "llama.block_count": 2, "x.l": [1, 2], "x.s": ["a"]},
            [("blk.0.a", (32, 2), "Q8_0")],
            tokens=4,
        )
    ),
    content(gguf({"general.architecture": "x"}, version=2)),
    content(gguf({"general.architecture": "x", "x.n": 1.5}, order=">")),
    content(llama_split(2)[1]),
]
INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    9,
    12,
    13,
    31,
    32,
    63,
    64,
    255,
    256,
    65_535,
    65_536,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 62,
    1 << 63,
    (1 << 64) - 1,
)


def try_header(raw: bytes) -> None:
    """Anything but facts or the declared error is a failure."""
    try:
        facts = facts_of(raw)
    except HeaderError:
        return
    # What is accepted must survive the lock, whatever odd values the header held.
    pinned = ModelFacts(
        source="file:///m.gguf",
        revision=None,
        files=(FileFact(path="m.gguf", size_bytes=len(raw)),),
        kind="chat",
        kind_reason="",
        gguf=facts,
    )
    lock = Lock(cluster="a", facts={"m": pinned})
    assert read_lock(write_lock(lock), "gslc.lock").value == lock


def mutated(chance: random.Random) -> bytes:
    """A seed with a few numbers, bytes or pieces changed."""
    raw = bytearray(chance.choice(SEEDS)[:4096])
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(raw)) if raw else 0
        action = chance.randrange(5)
        if action == 0:
            raw[place : place + 1] = bytes([chance.randrange(256)])
        elif action == 1:
            raw[place : place + 8] = struct.pack("<Q", chance.choice(INTERESTING))
        elif action == 2:
            raw[place : place + 4] = struct.pack("<I", chance.choice(INTERESTING) & 0xFFFFFFFF)
        elif action == 3:
            del raw[place : place + chance.randint(1, 40)]
        else:
            piece = raw[place : place + chance.randint(1, 60)]
            raw[place:place] = piece * chance.randint(1, 3)
    return bytes(raw)


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_after_the_magic_give_facts_or_the_declared_error(tail: bytes) -> None:
    try_header(b"GGUF" + struct.pack("<I", 3) + tail)


def test_mutated_headers_give_facts_or_the_declared_error() -> None:
    chance = random.Random(1)
    for _ in range(2_000):
        try_header(mutated(chance))


@pytest.mark.fuzz
def test_fifty_thousand_mutated_headers_stay_within_time_and_memory() -> None:
    chance = random.Random(20261122)
    tracemalloc.start()
    for _ in range(50_000):
        raw = mutated(chance)
        started = time.process_time()
        try_header(raw)
        assert ends_in(2, started)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20
