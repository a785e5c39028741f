"""gslc.lock: the same values give the same bytes, and whatever was changed by hand is noticed."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gslc.documents.canonical import freeze
from gslc.documents.lock import LOCK_INTEGRITY_CODES, block_ranges, read_lock, write_lock
from gslc.documents.lock_reader import parse_blocks
from gslc.ir.codes.lock import CODES
from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import FileFact, GgufFacts, ModelFacts, OtherQuantization, SafetensorsFacts, SpeechFacts, TensorGroup
from gslc.ir.lock import Lock, LockedPlacement, Seat
from gslc.ir.plan import Layout

COMMIT = "0123456789" * 4
HASH = "ab" * 32

GGUF = GgufFacts(
    architecture="llama",
    hyper={
        "llama.block_count": 2,
        "llama.rope.freq_base": 1e6,
        "general.name": "zwölf\n",
        "x.list": (1, 0),
        "x.on": True,
    },
    vocabulary_size=10,
    tensors=(
        TensorGroup(name="blk.{}.attn_q.weight", type="Q4_K", shape=(256, 4), blocks=(0, 1)),
        TensorGroup(name="token_embd.weight", type="F16", shape=(4, 10)),
    ),
    header_sha256=HASH,
    header_bytes=100,
    file_bytes=5000,
)
WEIGHTS = SafetensorsFacts(
    config={
        "architectures": ("LlamaForCausalLM",),
        "hidden_size": 4,
        "rope_scaling": {"factor": 8.0, "low": None},
        "tie": False,
    },
    tensors=(
        TensorGroup(
            name="model.layers.{}.mlp.experts.{}.up.weight", type="BF16", shape=(4, 4), blocks=(0, 1, 3), experts=2
        ),
    ),
    parameter_bytes=192,
    header_sha256=HASH,
    tokenizer_max_length=4096,
    pooling="mean",
)
FACTS: dict[str, ModelFacts] = {
    "asr": ModelFacts(
        source="modelscope://gpustack/faster-whisper-tiny", revision=COMMIT, kind="speech-to-text", kind_reason="in the table",
        files=(FileFact(path="model.bin", size_bytes=7),),
        speech=SpeechFacts(framework="faster-whisper", model_file="model.bin", model_bytes=7),
    ),
    "chat": ModelFacts(
        source="hf://o/r", revision=COMMIT, kind="chat", kind_reason="a language model",
        files=(FileFact(path="config.json", size_bytes=3, sha256=HASH), FileFact(path="model.safetensors", size_bytes=900)),
        safetensors=WEIGHTS, code_files=("modeling_x.py",),
    ),
    "coder": ModelFacts(
        source="ollama://coder:7b", revision=f"sha256:{HASH}", kind="vision", kind_reason="it has a projector",
        files=(FileFact(path="m.gguf", size_bytes=5000, sha256=HASH, url="https://r.example/v2/b"), FileFact(path="p.gguf", size_bytes=5000)),
        gguf=GGUF, projector=GGUF, projector_file="p.gguf", asked=(("mmproj", "p.gguf"),),
        other_quantizations=(OtherQuantization(name="Q2_K", size_bytes=300), OtherQuantization(name="x/m-Q8_0.gguf", size_bytes=9000)),
    ),
    "other": ModelFacts(source="file:///x", revision=None, kind="other", kind_reason="custom", files=(FileFact(path="x.bin", size_bytes=1),)),
}  # fmt: skip
PLACEMENTS = (
    LockedPlacement(
        model="chat", replica=0, backend="vllm", seats=(Seat(host="atlas", gpus=(0, 1), ports=(20000, 20001)), Seat(host="b", ports=(20000,))),
        layout=Layout(tensor_parallel=2, pipeline_parallel=2, layers=28, gpu_memory_utilization=900, context=8192, parallel=4),
    ),
    LockedPlacement(model="coder", replica=1, backend="llama.cpp", seats=(Seat(host="atlas", gpus=(2,), ports=(20002,)),),
                    layout=Layout(gpu_layers=3, layers=3, tensor_split=(1, 2), cpu_moe_layers=0)),
)  # fmt: skip
LOCK = Lock(cluster="lab", facts=FACTS, placements=PLACEMENTS)
TEXT = write_lock(LOCK)


def refusal(text: str, cluster: str | None = "lab") -> Diagnostic:
    outcome = read_lock(text, "gslc.lock", cluster)
    assert outcome.value is None
    diagnostic = outcome.diagnostics[0]
    assert diagnostic.code in LOCK_INTEGRITY_CODES
    assert diagnostic.severity == "error"
    assert diagnostic.help
    assert "\n" not in diagnostic.message
    return diagnostic


def test_an_empty_lock_is_six_lines() -> None:
    assert (
        write_lock(Lock(cluster="a", facts={}))
        == '{\n  "version": 1,\n  "cluster": "a",\n  "models": {},\n  "placements": []\n}\n'
    )


def test_what_is_written_is_read_back() -> None:
    assert read_lock(TEXT, "gslc.lock", "lab").value == LOCK
    assert write_lock(LOCK) == TEXT


def test_the_order_of_models_and_placements_does_not_matter() -> None:
    turned = Lock(cluster="lab", facts=dict(reversed(FACTS.items())), placements=tuple(reversed(PLACEMENTS)))
    assert write_lock(turned) == TEXT


def test_the_order_of_keys_inside_facts_does_not_matter() -> None:
    gguf = dataclasses.replace(GGUF, hyper=dict(reversed(GGUF.hyper.items())))
    facts = dataclasses.replace(FACTS["coder"], gguf=gguf)
    assert write_lock(Lock(cluster="lab", facts={**FACTS, "coder": facts}, placements=PLACEMENTS)) == TEXT


def test_each_group_of_facts_stands_on_a_line_of_its_own() -> None:
    lines = TEXT.split("\n")
    assert '          {"name": "blk.{}.attn_q.weight", "type": "Q4_K", "shape": [256, 4], "blocks": "0-1"},' in lines
    assert sum(line.startswith('    {"model": ') for line in lines) == 2
    assert TEXT.isascii()
    assert json.loads(TEXT)["models"]["chat"]["safetensors"]["config"]["hidden_size"] == 4


def test_a_new_model_adds_lines_and_changes_none() -> None:
    more = Lock(cluster="lab", facts={**FACTS, "d": FACTS["asr"]}, placements=PLACEMENTS)
    assert set(TEXT.split("\n")) - {"    }"} <= set(write_lock(more).split("\n"))


@pytest.mark.parametrize(
    ("blocks", "text"), [((0,), "0"), ((0, 1), "0-1"), ((0, 1, 2, 7), "0-2,7"), ((3, 5, 6), "3,5-6")]
)
def test_blocks_are_written_as_ranges(blocks: tuple[int, ...], text: str) -> None:
    assert block_ranges(blocks) == text
    assert parse_blocks(text) == blocks


@pytest.mark.parametrize("text", ["", "a", "2-1", "1,1", "3,2", "0-", "-1", "0-99999", "1 2", "٣"])
def test_ranges_that_do_not_rise_are_no_blocks(text: str) -> None:
    assert parse_blocks(text) is None


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "GS200"), ("{", "GS200"), ("\x00", "GS200"), ("[" * 200_000, "GS200"), ("1" * 5000, "GS200"), ('{"version": NaN}', "GS200"),
        ("[]", "GS202"), ("1", "GS202"), ("null", "GS202"), ('{"version": 2}', "GS207"), ('{"version": true}', "GS207"), ("{}", "GS207"),
        ('{"version": 1}', "GS202"), ('{"version": 1, "cluster": "a", "models": [], "placements": {}}', "GS202"),
    ],
)  # fmt: skip
def test_other_texts_are_no_lock(text: str, code: str) -> None:
    assert refusal(text).code == code


@pytest.mark.parametrize("marker", ["<<<<<<< HEAD", "=======", ">>>>>>> branch", "||||||| base"])
def test_a_conflict_marker_is_named_by_its_line(marker: str) -> None:
    lines = TEXT.split("\n")
    lines.insert(7, marker)
    diagnostic = refusal("\n".join(lines))
    assert (diagnostic.code, diagnostic.place.line) == ("GS201", 8)


def test_the_lock_of_another_cluster_is_refused() -> None:
    diagnostic = refusal(TEXT, "prod")
    assert diagnostic.code == "GS203"
    assert "'lab'" in diagnostic.message


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: "\ufeff" + text,
        lambda text: text.replace('"size": 7', '"size":7'),
        lambda text: text.replace("1000000.0", "1e6"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(json.loads(text), indent=2) + "\n",
        lambda text: text.replace('"version": 1,', '"version": 1,\n  "version": 1,'),
        lambda text: text.replace('"0-1"', '"0,1"'),
    ],
)
def test_another_spelling_is_refused(change: object) -> None:
    assert refusal(change(TEXT)).code in ("GS200", "GS204", "GS206")  # type: ignore[operator]


def test_a_changed_fact_is_named_with_its_model() -> None:
    diagnostic = refusal(TEXT.replace('"vocabulary_size": 10', '"vocabulary_size": 11', 1))
    assert diagnostic.code == "GS206"
    assert "'coder'" in diagnostic.message
    assert diagnostic.help is not None
    assert "--upgrade-model coder" in diagnostic.help


def test_a_changed_placement_is_named_by_its_line() -> None:
    diagnostic = refusal(TEXT.replace('"gpus": [2]', '"gpus": [3]'))
    assert diagnostic.code == "GS206"
    assert '"gpus": [3]' in TEXT.replace('"gpus": [2]', '"gpus": [3]').split("\n")[diagnostic.place.line - 1]


OTHER = OtherQuantization(name="Q4_0", size_bytes=4)


def _with(**changes: object) -> str:
    """A lock whose digests are right and whose facts contradict themselves."""
    return write_lock(Lock(cluster="lab", facts={"coder": dataclasses.replace(FACTS["coder"], **changes)}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_with(gguf=dataclasses.replace(GGUF, file_bytes=4999)), "file_bytes is 4999, the files have 5000"),
        (_with(gguf=dataclasses.replace(GGUF, header_bytes=4999)), "header and tensors need"),
        (_with(gguf=dataclasses.replace(GGUF, tensors=(TensorGroup(name="a", type="Q9", shape=(1,)),))), "tensor type"),
        (_with(gguf=None), "0 sets of facts"),
        (_with(other_quantizations=(OTHER, OTHER)), "listed twice"),
        (_with(other_quantizations=(OTHER, dataclasses.replace(OTHER, size_bytes=5))), "listed twice"),
        (write_lock(Lock(cluster="lab", facts={"a": dataclasses.replace(FACTS["asr"], other_quantizations=(OTHER,))})), "files that are no GGUF"),
        (_with(safetensors=WEIGHTS), "2 sets of facts"),
        (_with(kind="other"), "kind other"),
        (_with(projector_file="q.gguf"), "not among the files"),
        (_with(projector=None), "has no facts"),
        (_with(files=(*FACTS["coder"].files, FACTS["coder"].files[0])), "listed twice"),
        (write_lock(Lock(cluster="lab", facts={"a": dataclasses.replace(FACTS["chat"], safetensors=dataclasses.replace(WEIGHTS, parameter_bytes=1))})), "parameter_bytes is 1, the tensor table has 192"),
        (write_lock(Lock(cluster="lab", facts={"a": dataclasses.replace(FACTS["asr"], files=())})), "another size"),
        (write_lock(Lock(cluster="lab", facts={}, placements=(PLACEMENTS[0], PLACEMENTS[0]))), "placed twice"),
        (write_lock(Lock(cluster="lab", facts={}, placements=(dataclasses.replace(PLACEMENTS[0], seats=(Seat(host="a", gpus=(1, 1)),)),))), "stands twice"),
        (write_lock(Lock(cluster="lab", facts={}, placements=(dataclasses.replace(PLACEMENTS[0], seats=(Seat(host="a", ports=(70_000,)),)),))), "is not a port"),
    ],
)  # fmt: skip
def test_facts_that_contradict_each_other_are_refused(text: str, words: str) -> None:
    diagnostic = refusal(text)
    assert diagnostic.code == "GS205"
    assert words in diagnostic.message


@pytest.mark.parametrize("path", ["../m.gguf", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "", "."])
def test_a_path_that_leaves_its_folder_is_refused(path: str) -> None:
    facts = dataclasses.replace(FACTS["other"], files=(FileFact(path=path, size_bytes=1),))
    assert refusal(write_lock(Lock(cluster="lab", facts={"a": facts}))).code == "GS202"


@pytest.mark.parametrize(
    "url", ["https://user:secret@r.example/x", "ftp://r.example/x", "https://r.example/a b", "file:///etc/passwd"]
)
def test_an_address_with_a_user_name_or_another_scheme_is_refused(url: str) -> None:
    facts = dataclasses.replace(FACTS["other"], files=(FileFact(path="a", size_bytes=1, url=url),))
    assert refusal(write_lock(Lock(cluster="lab", facts={"a": facts}))).code == "GS202"


# ------------------------------------------------------------------ every leaf


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    else:
        yield path


def _changed(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield from (value + 1, -1, str(value), None, 1 << 70)
    elif isinstance(value, str):
        yield from (value + "x", value[:-1], value.upper() + "!", None, 5)
    else:
        yield 1
    yield from ([], {}, {"a": 1})


def _relaid(path: tuple[str | int, ...], value: object) -> str:
    """The lock's text with one leaf changed where it stands, all else left as it is."""
    copy = json.loads(TEXT)
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return _laid_out(copy)


def _laid_out(document: Mapping[str, object]) -> str:
    """A document in the layout of a lock, digests as they stand: what a careful person with an editor would make."""
    lines: list[str] = []

    def lay(value: object, depth: int, name: str, last: bool) -> None:
        pad, comma = "  " * depth, "" if last else ","
        head = f"{pad}{json.dumps(name)}: " if name else pad
        multi = isinstance(value, dict) and (
            depth < 3 or name in ("gguf", "projector", "safetensors", "hyper", "config")
        )
        if multi and value:
            lines.append(f"{head}{{")
            for index, (key, inner) in enumerate(value.items()):  # type: ignore[attr-defined]
                lay(inner, depth + 1, key, index == len(value) - 1)  # type: ignore[arg-type]
            lines.append(f"{pad}}}{comma}")
        elif name in ("files", "other_quantizations", "tensors", "placements") and value and isinstance(value, list):
            lines.append(f"{head}[")
            lines.extend(
                f"{pad}  {json.dumps(item)}{'' if index == len(value) - 1 else ','}" for index, item in enumerate(value)
            )
            lines.append(f"{pad}]{comma}")
        else:
            lines.append(f"{head}{json.dumps(value)}{comma}")

    lay(document, 0, "", last=True)
    return "\n".join(lines) + "\n"


def test_the_editor_of_these_tests_lays_out_as_the_writer_does() -> None:
    assert _laid_out(json.loads(TEXT)) == TEXT


LEAVES = list(_leaves(json.loads(TEXT)))


def test_every_leaf_changed_alone_is_detected() -> None:
    assert len(LEAVES) > 120
    document = json.loads(TEXT)
    for path in LEAVES:
        value: object = document
        for key in path:
            value = value[key]  # type: ignore[index]
        for other in _changed(value):
            text = _relaid(path, other)
            outcome = read_lock(text, "gslc.lock", "lab")
            assert outcome.value is None, (path, other)
            assert outcome.diagnostics[0].code in LOCK_INTEGRITY_CODES


def test_every_leaf_removed_alone_is_detected() -> None:
    for path in LEAVES:
        copy = json.loads(TEXT)
        inner = copy
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        assert read_lock(_laid_out(copy), "gslc.lock", "lab").value is None, path


def test_an_unknown_field_is_named_wherever_it_stands() -> None:
    for path in (
        (),
        ("models", "chat"),
        ("models", "chat", "files", 0),
        ("models", "coder", "gguf"),
        ("placements", 0),
        ("placements", 0, "seats", 0),
    ):
        copy = json.loads(TEXT)
        inner = copy
        for key in path:
            inner = inner[key]
        inner["extra"] = 1
        diagnostic = refusal(_laid_out(copy))
        assert diagnostic.code == "GS202"
        assert "extra" in diagnostic.message


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("models", "chat"), [], "must be an object"),
        (("models", "chat", "files"), 5, "must be a list"),
        (("models", "coder", "gguf", "tensors"), {}, "must be a list"),
        (("models", "coder", "gguf", "hyper"), [], "must be an object"),
        (("models", "coder", "gguf", "hyper", "x.on"), {}, "truth value"),
        (("models", "chat", "safetensors", "config"), [], "must be an object"),
        (("models", "chat", "code_files"), [1], "list of text"),
        (("models", "coder", "other_quantizations"), {}, "must be a list"),
        (("models", "coder", "other_quantizations", 0), "Q2_K", "must be an object"),
        (("models", "coder", "other_quantizations", 0, "size"), -1, "whole number"),
        (("models", "coder", "other_quantizations", 0, "size"), 1 << 63, "whole number"),
        (("models", "coder", "other_quantizations", 0, "size"), True, "whole number"),
        (("models", "coder", "other_quantizations", 0, "name"), "", "a quantisation such as"),
        (("models", "coder", "other_quantizations", 0, "name"), "Q2 K", "a quantisation such as"),
        (("models", "coder", "other_quantizations", 0, "name"), "Q4\u001b[2J", "a quantisation such as"),
        (("models", "coder", "other_quantizations", 0, "name"), "../m.gguf", "without `..`"),
        (("placements", 0, "seats"), [], "at least one seat"),
        (("placements", 0, "backend"), "", "must be a name"),
        (("placements", 0, "backend"), "a\nb", "must be a name"),
        (("placements", 0, "seats", 0, "gpus"), [True], "whole numbers"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(path: tuple[str | int, ...], value: object, words: str) -> None:
    diagnostic = refusal(_relaid(path, value))
    assert diagnostic.code == "GS202"
    assert words in diagnostic.message


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_beyond_all_numbers_is_refused(number: str) -> None:
    assert refusal(TEXT.replace('"factor": 8.0', f'"factor": {number}')).code == "GS202"
    assert refusal(TEXT.replace("1000000.0", number, 1)).code == "GS202"


def test_a_placement_with_the_default_layout_is_read_back() -> None:
    lock = Lock(cluster="a", facts={}, placements=(dataclasses.replace(PLACEMENTS[0], layout=Layout()),))
    assert read_lock(write_lock(lock), "gslc.lock").value == lock


def test_other_quantisations_are_written_by_name_and_read_back() -> None:
    turned = dataclasses.replace(
        FACTS["coder"], other_quantizations=tuple(reversed(FACTS["coder"].other_quantizations))
    )
    assert write_lock(Lock(cluster="lab", facts={**FACTS, "coder": turned}, placements=PLACEMENTS)) == TEXT
    at = TEXT.split("\n").index('      "other_quantizations": [')
    assert TEXT.split("\n")[at + 1] == '        {"name": "Q2_K", "size": 300},'


def test_another_order_of_quantisations_or_an_empty_list_is_refused() -> None:
    others = json.loads(TEXT)["models"]["coder"]["other_quantizations"]
    for changed in (list(reversed(others)), []):
        assert refusal(_relaid(("models", "coder", "other_quantizations"), changed)).code in ("GS204", "GS206")


def test_a_lock_from_before_quantisations_were_kept_stays_as_it_is() -> None:
    before = dataclasses.replace(FACTS["coder"], other_quantizations=())
    text = write_lock(Lock(cluster="lab", facts={"coder": before}))
    assert "other_quantizations" not in text
    assert read_lock(text, "gslc.lock").value == Lock(cluster="lab", facts={"coder": before})


def test_pickled_weights_are_read_back() -> None:
    pickled = dataclasses.replace(WEIGHTS, tensors=(), parameter_bytes=900, header_sha256=None, weight_format="pickle")
    lock = Lock(cluster="a", facts={"m": dataclasses.replace(FACTS["chat"], safetensors=pickled)})
    assert read_lock(write_lock(lock), "gslc.lock").value == lock


def test_a_digest_without_its_model_is_told() -> None:
    text = TEXT.replace('    "asr": {', '  "asr": {', 1).replace('"size": 7', '"size": 8', 1)
    assert refusal(text).code in ("GS204", "GS205")


def test_only_json_values_are_canonical() -> None:
    with pytest.raises(ValueError, match="not a JSON value"):
        freeze(object())
    with pytest.raises(ValueError, match="not a finite number"):
        freeze([float("inf")])


def test_a_refusal_stands_on_the_line_of_its_entry() -> None:
    text = TEXT.replace('"kind": "speech-to-text"', '"kind": "song"')
    assert refusal(text).place.line == text.split("\n").index('      "kind": "song",') + 1


# ------------------------------------------------------------------ laws

scalars = st.one_of(
    st.booleans(), st.integers(0, 1 << 62), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)
hypers = st.dictionaries(
    st.text(min_size=1, max_size=8), st.one_of(scalars, st.lists(scalars, max_size=3).map(tuple)), max_size=5
)
blocks = st.lists(st.integers(0, 65_535), unique=True, max_size=6).map(lambda numbers: tuple(sorted(numbers)))
groups = st.builds(
    TensorGroup, name=st.text(max_size=12), type=st.sampled_from(["F32", "Q4_K"]), shape=st.lists(st.integers(0, 512), max_size=3).map(tuple),
    blocks=blocks, experts=st.integers(0, 4),
)  # fmt: skip


@st.composite
def ggufs(draw: st.DrawFn) -> ModelFacts:
    facts = GgufFacts(
        architecture=draw(st.text(max_size=8)), hyper=draw(hypers), vocabulary_size=draw(st.integers(0, 1 << 20)),
        tensors=tuple(draw(st.lists(groups, max_size=4))), header_sha256=HASH, header_bytes=1, file_bytes=1 << 60,
    )  # fmt: skip
    files = (FileFact(path="m.gguf", size_bytes=1 << 60),)
    return ModelFacts(
        source=draw(st.text(max_size=10)),
        revision=None,
        files=files,
        kind="chat",
        kind_reason=draw(st.text(max_size=9)),
        gguf=facts,
    )


names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
small = st.integers(0, 100)
seats = st.builds(
    Seat, host=names, gpus=st.lists(small, unique=True, max_size=4).map(tuple), ports=st.lists(st.integers(1, 65_535), unique=True, max_size=2).map(tuple)
)  # fmt: skip
layouts = st.builds(
    Layout, tensor_parallel=small, gpu_layers=st.none() | small, tensor_split=st.none() | st.lists(small, max_size=3).map(tuple),
    context=st.none() | small, requirement=st.none() | small,
)  # fmt: skip
placements = st.builds(
    LockedPlacement, model=names, replica=small, backend=st.sampled_from(["vllm", "custom"]), seats=st.lists(seats, min_size=1, max_size=3).map(tuple),
    layout=layouts,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(names, ggufs(), max_size=3),
    st.lists(placements, max_size=4, unique_by=lambda item: (item.model, item.replica)),
)
def test_reading_gives_what_was_written(facts: dict[str, ModelFacts], seated: list[LockedPlacement]) -> None:
    lock = Lock(
        cluster="lab", facts=facts, placements=tuple(sorted(seated, key=lambda item: (item.model, item.replica)))
    )
    text = write_lock(lock)
    outcome = read_lock(text, "gslc.lock", "lab")
    assert outcome.value == lock, outcome.diagnostics
    assert write_lock(outcome.value) == text


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.sampled_from(list('0123456789abcdef"{}[]:, \n\\/-\x00\u2028')))
def test_any_byte_changed_is_detected(place: int, character: str) -> None:
    changed = TEXT[:place] + character + TEXT[place + 1 :]
    outcome = read_lock(changed, "gslc.lock", "lab")
    assert (outcome.value == LOCK) == (changed == TEXT)
    assert changed == TEXT or outcome.diagnostics[0].code in LOCK_INTEGRITY_CODES


def test_every_integrity_code_is_documented() -> None:
    assert set(CODES) >= LOCK_INTEGRITY_CODES


def test_two_thousand_placements_are_read_in_150_ms() -> None:
    seated = tuple(
        LockedPlacement(
            model=f"m{number:04d}",
            replica=0,
            backend="custom",
            seats=(Seat(host=f"h{number % 200}", gpus=(number % 8,), ports=(20_000 + number,)),),
            layout=Layout(requirement=0),
        )
        for number in range(2_000)
    )
    text = write_lock(Lock(cluster="lab", facts={}, placements=seated))
    best = min(_seconds_to_read(text) for _ in range(3))
    assert best < 0.15


def _seconds_to_read(text: str) -> float:
    started = time.process_time()
    assert read_lock(text, "gslc.lock", "lab").value is not None
    return time.process_time() - started
