"""The JSON Schema of gslc.lock says the same as the reader."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gslc.documents.canonical import is_safe_path
from gslc.documents.lock import read_lock, write_lock
from gslc.ir.facts import FileFact, GgufFacts, ModelFacts, OtherQuantization
from gslc.ir.lock import Lock, LockedPlacement, Seat
from gslc.ir.plan import Layout

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "lock.schema.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
LOCKS = sorted((Path(__file__).parents[3] / "examples").glob("*/gslc.lock"))


def pin(path: str = "m.bin", url: str | None = None) -> Lock:
    facts = ModelFacts(
        source="file:///x", revision=None, kind="other", kind_reason="custom", files=(FileFact(path=path, size_bytes=1, url=url),)
    )  # fmt: skip
    return Lock(cluster="a", facts={"m": facts})


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", LOCKS, ids=[path.parent.name for path in LOCKS])
def test_the_locks_of_the_examples_are_valid(path: Path) -> None:
    VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))


def test_every_field_of_a_layout_is_described() -> None:
    described = SCHEMA["$defs"]["placement"]["properties"]["layout"]["properties"]
    assert set(described) == set(Layout.__slots__)


def test_a_placement_is_valid_with_all_its_fields() -> None:
    layout = Layout(tensor_parallel=2, gpu_layers=0, tensor_split=(1, 2), context=8192)
    placement = LockedPlacement(
        model="m", replica=0, backend="vllm", seats=(Seat(host="h", gpus=(0, 1), ports=(1,)),), layout=layout
    )
    VALIDATOR.validate(json.loads(write_lock(Lock(cluster="a", facts={}, placements=(placement,)))))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=12),
        st.text(alphabet="./a\\ \n\x7fé", max_size=8),
        st.from_regex(r"[a-z./]{0,10}", fullmatch=True),
    )
)
def test_schema_and_reader_agree_on_paths(path: str) -> None:
    text = write_lock(pin(path))
    accepted = read_lock(text, "gslc.lock").value is not None
    assert accepted == is_safe_path(path) == VALIDATOR.is_valid(json.loads(text))


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://r.example/v2/x", True),
        ("http://[::1]:80/x", True),
        ("https://u@h/x", False),
        ("ftp://h/x", False),
        ("https://h", False),
    ],
)
def test_schema_and_reader_agree_on_addresses(url: str, right: bool) -> None:
    text = write_lock(pin(url=url))
    assert (read_lock(text, "gslc.lock").value is not None) == right == VALIDATOR.is_valid(json.loads(text))


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"version": 2}, {"cluster": "A"}, {"models": []}, {"placements": {}}, {"models": {"Bad": {}}}],
)
def test_the_schema_refuses_what_the_reader_refuses(change: dict[str, object]) -> None:
    document = {**json.loads(write_lock(pin())), **change}
    assert read_lock(json.dumps(document), "gslc.lock").value is None
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)


EMPTY = GgufFacts(
    architecture="llama", hyper={}, vocabulary_size=0, tensors=(), header_sha256="0" * 64, header_bytes=0, file_bytes=1
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=12),
        st.from_regex(r"[A-Za-z0-9_.-]{0,40}", fullmatch=True),
        st.from_regex(r"[A-Z./ ]{0,6}\.(gguf|GGUF|GgUf)\n?", fullmatch=True),
        st.sampled_from(["Q4_K_M", "UD-Q4_K_XL", "Q4_K_M\n", "a/m.gguf", "../m.gguf", ".gguf", "m.gguf/", "x" * 33]),
    )
)
def test_schema_and_reader_agree_on_the_names_of_quantisations(name: str) -> None:
    facts = ModelFacts(
        source="hf://o/r", revision=None, kind="chat", kind_reason="", files=(FileFact(path="m.gguf", size_bytes=1),), gguf=EMPTY,
        other_quantizations=(OtherQuantization(name=name, size_bytes=1),),
    )  # fmt: skip
    text = write_lock(Lock(cluster="a", facts={"m": facts}))
    assert (read_lock(text, "gslc.lock").value is not None) == VALIDATOR.is_valid(json.loads(text))


@pytest.mark.parametrize("size", [-1, 1 << 63, 1.5, "1", None])
def test_schema_and_reader_refuse_the_same_sizes(size: object) -> None:
    facts = ModelFacts(
        source="hf://o/r", revision=None, kind="chat", kind_reason="", files=(FileFact(path="m.gguf", size_bytes=1),), gguf=EMPTY,
        other_quantizations=(OtherQuantization(name="Q4_0", size_bytes=size),),  # type: ignore[arg-type]
    )  # fmt: skip
    text = write_lock(Lock(cluster="a", facts={"m": facts}))
    assert read_lock(text, "gslc.lock").value is None
    assert not VALIDATOR.is_valid(json.loads(text))
