"""gslc.lock as text: written canonically, read with an integrity check of every value.

Each entry ends in a digest over its own lines. Reading parses the text, writes it again and compares the bytes, so
another spelling, an edited number or a stray field can't go unnoticed; what still agrees with itself is then checked
against the sums that follow from the tensor table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache

from gslc.documents.canonical import conflict_line, first_difference, line_of, sorted_line_of, thaw
from gslc.documents.lock_fields import LockRefused
from gslc.documents.lock_reader import parse_lock
from gslc.ir.diagnostic import Diagnostic, Outcome, Place
from gslc.ir.facts import FileFact, GgufFacts, ModelFacts, OtherQuantization, SafetensorsFacts, TensorGroup
from gslc.ir.lock import Lock, LockedPlacement, Seat
from gslc.ir.plan import Layout

LOCK_VERSION = 1
LOCK_INTEGRITY_CODES: frozenset[str] = frozenset(
    {"GS200", "GS201", "GS202", "GS203", "GS204", "GS205", "GS206", "GS207"}
)

_MEND = "take either side of the file from Git, then run `gslc build`"


# ------------------------------------------------------------------ writing


def write_lock(lock: Lock) -> str:
    """The lock as canonical JSON, one line for every group of facts and every placement."""
    lines = ["{", f'  "version": {LOCK_VERSION},', f'  "cluster": {line_of(lock.cluster)},']
    entries = [_entry_lines(name, facts) for name, facts in sorted(lock.facts.items())]
    lines += _block('  "models": {', entries, "  },")
    seated = sorted(lock.placements, key=lambda placement: (placement.model, placement.replica))
    lines += _block('  "placements": [', [[f"    {_placement_line(placement)}"] for placement in seated], "  ]")
    lines.append("}\n")
    return "\n".join(lines)


def _block(opening: str, entries: list[list[str]], closing: str) -> list[str]:
    """Entries between brackets, commas added; an empty block stands on one line."""
    if not entries:
        return [opening + closing.lstrip()]
    lines = [opening]
    for entry in entries[:-1]:
        lines += entry
        lines[-1] += ","
    return [*lines, *entries[-1], closing]


def _entry_lines(name: str, facts: ModelFacts) -> list[str]:
    """The lines of one model, its digest last."""
    fields = list(_facts_fields(facts))
    digest = facts_digest(name, fields)
    body = [line for field in fields for line in _with_comma(field)]
    return [f"    {line_of(name)}: {{", *body, f'      "facts_sha256": "{digest}"', "    }"]


def _with_comma(field: list[str]) -> list[str]:
    return [*field[:-1], field[-1] + ","]


def facts_digest(name: str, fields: list[list[str]]) -> str:
    """sha256 of a model's name and the lines of its entry, hex."""
    text = "\n".join([line_of(name), *(line for field in fields for line in field)])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _facts_fields(facts: ModelFacts) -> Iterator[list[str]]:
    pad = "      "
    yield [f'{pad}"source": {line_of(facts.source)}']
    if facts.asked:
        yield [f'{pad}"asked": {line_of(dict(facts.asked))}']
    yield [f'{pad}"revision": {line_of(facts.revision)}']
    yield [f'{pad}"kind": {line_of(facts.kind)}']
    yield [f'{pad}"kind_reason": {line_of(facts.kind_reason)}']
    if facts.code_files:
        yield [f'{pad}"code_files": {line_of(facts.code_files)}']
    yield _block(f'{pad}"files": [', [[f"{pad}  {_file_line(fact)}"] for fact in facts.files], f"{pad}]")
    if facts.other_quantizations:
        others = sorted(facts.other_quantizations, key=lambda other: other.name)
        yield _block(
            f'{pad}"other_quantizations": [', [[f"{pad}  {_other_line(other)}"] for other in others], f"{pad}]"
        )
    if facts.gguf is not None:
        yield _gguf_lines("gguf", facts.gguf)
    if facts.projector_file is not None:
        yield [f'{pad}"projector_file": {line_of(facts.projector_file)}']
    if facts.projector is not None:
        yield _gguf_lines("projector", facts.projector)
    if facts.safetensors is not None:
        yield _safetensors_lines(facts.safetensors)
    if facts.speech is not None:
        speech = facts.speech
        fields = {"framework": speech.framework, "model_file": speech.model_file, "model_bytes": speech.model_bytes}
        yield [f'{pad}"speech": {line_of(fields)}']


def _file_line(fact: FileFact) -> str:
    fields: dict[str, str | int] = {"path": fact.path, "size": fact.size_bytes}
    if fact.sha256 is not None:
        fields["sha256"] = fact.sha256
    if fact.url is not None:
        fields["url"] = fact.url
    return line_of(fields)


def _other_line(other: OtherQuantization) -> str:
    return line_of({"name": other.name, "size": other.size_bytes})


def _tensor_line(group: TensorGroup) -> str:
    fields: dict[str, object] = {"name": group.name, "type": group.type, "shape": group.shape}
    if group.blocks:
        fields["blocks"] = block_ranges(group.blocks)
    if group.experts:
        fields["experts"] = group.experts
    return line_of(fields)


@lru_cache(maxsize=4096)
def block_ranges(blocks: tuple[int, ...]) -> str:
    """Block numbers as ranges: (0, 1, 2, 7) is "0-2,7"."""
    runs: list[list[int]] = []
    for block in blocks:
        if runs and runs[-1][1] + 1 == block:
            runs[-1][1] = block
        else:
            runs.append([block, block])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _mapping_lines(opening: str, values: Mapping[str, object], pad: str) -> list[str]:
    entries = [[f"{pad}  {line_of(key)}: {sorted_line_of(thaw_value(value))}"] for key, value in sorted(values.items())]
    return _block(f"{pad}{opening} {{", entries, f"{pad}}}")


def thaw_value(value: object) -> object:
    """Plain containers for a value of a configuration or a header."""
    return thaw(value)  # type: ignore[arg-type]


def _tensor_lines(tensors: tuple[TensorGroup, ...], pad: str) -> list[str]:
    return _block(f'{pad}"tensors": [', [[f"{pad}  {_tensor_line(group)}"] for group in tensors], f"{pad}]")


def _gguf_lines(key: str, facts: GgufFacts) -> list[str]:
    pad = "        "
    fields = [
        [f'{pad}"architecture": {line_of(facts.architecture)}'],
        [f'{pad}"vocabulary_size": {facts.vocabulary_size}'],
        [f'{pad}"file_bytes": {facts.file_bytes}'],
        [f'{pad}"header_bytes": {facts.header_bytes}'],
        [f'{pad}"header_sha256": {line_of(facts.header_sha256)}'],
        _mapping_lines('"hyper":', facts.hyper, pad),
        _tensor_lines(facts.tensors, pad),
    ]
    return _block(f'      "{key}": {{', fields, "      }")


def _safetensors_lines(facts: SafetensorsFacts) -> list[str]:
    pad = "        "
    fields = [[f'{pad}"weight_format": {line_of(facts.weight_format)}']]
    if facts.pooling is not None:
        fields.append([f'{pad}"pooling": {line_of(facts.pooling)}'])
    if facts.tokenizer_max_length is not None:
        fields.append([f'{pad}"tokenizer_max_length": {facts.tokenizer_max_length}'])
    fields.append([f'{pad}"parameter_bytes": {facts.parameter_bytes}'])
    fields.append([f'{pad}"header_sha256": {line_of(facts.header_sha256)}'])
    fields.append(_mapping_lines('"config":', facts.config, pad))
    fields.append(_tensor_lines(facts.tensors, pad))
    return _block('      "safetensors": {', fields, "      }")


_LAYOUT_DEFAULT = Layout()


def _placement_line(placement: LockedPlacement) -> str:
    fields: dict[str, object] = {
        "model": placement.model,
        "replica": placement.replica,
        "backend": placement.backend,
        "seats": [_seat_fields(seat) for seat in placement.seats],
        "layout": _layout_fields(placement.layout),
    }
    text = line_of(fields)
    return f'{text[:-1]}, "seal": "{placement_seal(text)}"}}'


def placement_seal(text: str) -> str:
    """The first 16 hex digits of the sha256 of a placement's line."""
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _seat_fields(seat: Seat) -> dict[str, object]:
    return {"host": seat.host, "gpus": seat.gpus, "ports": seat.ports}


def _layout_fields(layout: Layout) -> dict[str, object]:
    """What differs from a Layout without arguments."""
    fields: dict[str, object] = {}
    for name in Layout.__slots__:
        value = getattr(layout, name)
        if value != getattr(_LAYOUT_DEFAULT, name):
            fields[name] = value
    return fields


# ------------------------------------------------------------------ reading


def read_lock(text: str, file: str, cluster: str | None = None) -> Outcome[Lock]:
    """The lock that the text holds, or every reason to distrust it; all errors carry a code of LOCK_INTEGRITY_CODES.

    `cluster` is the name that the lock must carry; None accepts any.
    """
    marker = conflict_line(text)
    if marker is not None:
        return _refused("GS201", "the lock holds a merge conflict marker", file, marker, _MEND)
    try:
        lock = parse_lock(text, LOCK_VERSION)
    except LockRefused as refused:
        problem = refused.problem
        line = problem.line or line_of_path(text, problem.path)
        return _refused(problem.code, problem.message, file, line, problem.help or _MEND)
    written = write_lock(lock)
    if written != text:
        return _not_canonical(text, written, file)
    if cluster is not None and lock.cluster != cluster:
        message = f"the lock belongs to the cluster '{lock.cluster}', not to '{cluster}'"
        return _refused("GS203", message, file, 3, "name this cluster's own lock with --lock-file")
    return Outcome(value=lock)


def _refused(code: str, message: str, file: str, line: int, action: str) -> Outcome[Lock]:
    diagnostic = Diagnostic(code=code, message=message, place=Place(file=file, line=line), help=action)
    return Outcome(value=None, diagnostics=(diagnostic,))


def _not_canonical(text: str, written: str, file: str) -> Outcome[Lock]:
    """Tells an edited value (only a digest disagrees) from another spelling."""
    number = first_difference(text, written)
    line = text.split("\n")[number - 1] if number <= text.count("\n") + 1 else ""
    if "\r" in text:
        return _refused(
            "GS204",
            "the lock has carriage returns; it is written with LF only",
            file,
            number,
            "tell Git to keep it: `gslc.lock -text` in .gitattributes, then take the file from Git again",
        )
    if line.startswith('      "facts_sha256": '):
        name = _enclosing_model(text, number)
        message = f"the facts of model '{name}' were changed by hand: they don't have the digest that stands below them"
        return _refused("GS206", message, file, number, f"run `gslc lock --upgrade-model {name}` on the lock from Git")
    if line.startswith('    {"model": ') and '"seal": ' in line:
        message = "this placement was changed by hand: it doesn't have the seal that stands at its end"
        return _refused(
            "GS206", message, file, number, "take the line from Git; use `gpus` or `port` in the model to pin it"
        )
    return _refused("GS204", "the lock is not in canonical form from this line on", file, number, _MEND)


def _enclosing_model(text: str, number: int) -> str:
    """The model whose entry the line belongs to."""
    openings = [line for line in text.split("\n")[:number] if line.startswith('    "') and line.endswith(": {")]
    return openings[-1].strip()[1:-4]


def line_of_path(text: str, path: tuple[str, ...]) -> int:
    """The line of a key path in a lock that is laid out canonically; 1 where it can't be found."""
    found = 1
    offset = 0
    for depth, key in enumerate(path, start=1):
        at = text.find(f"\n{'  ' * depth}{key}", offset)
        if at < 0:
            break
        offset = at + 1
        found = text.count("\n", 0, offset) + 1
    return found
