"""plan.json as text: one fact a line, so that a pull request shows the one fact that changed."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii

from gslc.documents.plan_json import JsonObject, JsonValue, plan_json
from gslc.ir.plan import Plan

# Objects and lists whose members stand on lines of their own; everything else is one line.
# Memory, evidence and one refusal are each read as a whole, so a line each is what a reviewer wants to see change.
_SPREAD = frozenset({"instances", "shards", "decisions", "rejected", "unplaced", "hosts", "gpus", "env", "secret_env"})
_OPEN = frozenset({"instances", "shards", "decisions", "hosts", "memory"})


def plan_text(plan: Plan) -> str:
    """plan.json, canonical: ASCII, LF, one space a level, a newline at the end. Same plan, same bytes."""
    return object_text(plan_json(plan))


def object_text(document: JsonObject) -> str:
    """A plan object in the canonical layout. Written by hand because json.dumps(indent=…) is ten times slower."""
    lines: list[str] = []
    _open_object(document, 0, "", "", lines)
    return "\n".join(lines) + "\n"


def _open_object(value: JsonObject, depth: int, prefix: str, suffix: str, lines: list[str]) -> None:
    """Append an object with a line for each member."""
    pad = " " * depth
    inner = pad + " "
    lines.append(f"{pad}{prefix}{{")
    last = len(value) - 1
    for number, (key, member) in enumerate(value.items()):
        label = f"{encode_basestring_ascii(key)}: "
        comma = "" if number == last else ","
        if key == "argv" and isinstance(member, list) and member:
            lines.append(f"{inner}{label}[")
            lines.extend(_argument_lines(member, inner + " "))
            lines.append(f"{inner}]{comma}")
        elif key in _OPEN and isinstance(member, dict):
            _open_object(member, depth + 1, label, comma, lines)
        elif key in _SPREAD and isinstance(member, list) and member and isinstance(member[0], dict):
            lines.append(f"{inner}{label}[")
            _items(key, member, depth + 2, lines)
            lines.append(f"{inner}]{comma}")
        elif key in _SPREAD and isinstance(member, dict) and member:
            lines.append(f"{inner}{label}{{")
            body = [f"{inner} {encode_basestring_ascii(name)}: {_line(entry)}" for name, entry in member.items()]
            lines.append(",\n".join(body))
            lines.append(f"{inner}}}{comma}")
        else:
            lines.append(f"{inner}{label}{_line(member)}{comma}")
    lines.append(f"{pad}}}{suffix}")


def _items(key: str, members: list[JsonValue], depth: int, lines: list[str]) -> None:
    """Append the members of a list of objects, open or a line each."""
    last = len(members) - 1
    for number, member in enumerate(members):
        comma = "" if number == last else ","
        if key in _OPEN and isinstance(member, dict):
            _open_object(member, depth, "", comma, lines)
        else:
            lines.append(f"{' ' * depth}{_line(member)}{comma}")


def _argument_lines(arguments: list[JsonValue], pad: str) -> list[str]:
    """The arguments, a flag and its values together on a line."""
    groups: list[list[str]] = []
    for argument in arguments:
        text = _line(argument)
        if not groups or text.startswith('"-'):
            groups.append([text])
        else:
            groups[-1].append(text)
    rows = [pad + ", ".join(group) for group in groups]
    return [row + "," for row in rows[:-1]] + rows[-1:]


def _line(value: JsonValue) -> str:
    """A value on one line, as json.dumps prints it."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, list):
        return f"[{', '.join([_line(member) for member in value])}]"
    members = [f"{encode_basestring_ascii(key)}: {_line(member)}" for key, member in value.items()]
    return f"{{{', '.join(members)}}}"
