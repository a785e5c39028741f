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
    return _object(document, "") + "\n"


def _object(value: JsonObject, pad: str) -> str:
    """An object with a line for each member; `pad` stands before its closing brace."""
    inner = f"{pad} "
    encode = encode_basestring_ascii
    rows: list[str] = []
    for key, member in value.items():
        # a plan of a thousand hosts has 130,000 members: those that are one word are written without a call
        if isinstance(member, str):
            text = encode(member)
        elif member.__class__ is int:
            text = str(member)
        elif not member:
            text = _empty(member)
        else:
            text = _member(key, member, inner)
        rows.append(f'{inner}"{key}": {text}')
    return _between("{", rows, pad, "}")


def _between(start: str, rows: list[str], pad: str, end: str) -> str:
    """Rows, which bring their own indentation, on lines between two brackets."""
    return f"{start}\n" + ",\n".join(rows) + f"\n{pad}{end}"


def _member(key: str, value: JsonValue, pad: str) -> str:
    """The value of a key on one line or several; `pad` stands before its closing bracket."""
    if isinstance(value, dict):
        if key in _OPEN:
            return _object(value, pad)
        if key in _SPREAD:
            return _between("{", [f"{pad} {_line(name)}: {_line(entry)}" for name, entry in value.items()], pad, "}")
    elif isinstance(value, list):
        if key == "argv":
            return _between("[", _argument_rows(value, f"{pad} "), pad, "]")
        if key in _SPREAD and isinstance(value[0], dict):
            inner = f"{pad} "
            opened = key in _OPEN
            rows = [
                inner + (_object(member, inner) if opened and isinstance(member, dict) else _line(member))
                for member in value
            ]
            return _between("[", rows, pad, "]")
    return _line(value)


def _argument_rows(arguments: list[JsonValue], pad: str) -> list[str]:
    """The arguments, a flag and its values together on a line."""
    groups: list[list[str]] = []
    for argument in arguments:
        text = _line(argument)
        if not groups or text.startswith('"-'):
            groups.append([text])
        else:
            groups[-1].append(text)
    return [pad + ", ".join(group) for group in groups]


def _line(value: JsonValue) -> str:
    """A value on one line, as json.dumps prints it (which takes three times as long for what is this small)."""
    if value.__class__ is int:
        return str(value)
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if not value:
        return _empty(value)
    if isinstance(value, dict):
        rows: list[str] = []
        for key, member in value.items():
            text = str(member) if member.__class__ is int else _line(member)
            rows.append(f"{encode_basestring_ascii(key)}: {text}")
        return f"{{{', '.join(rows)}}}"
    if isinstance(value, list):
        return f"[{', '.join([_line(member) for member in value])}]"
    return "true" if value is True else float.__repr__(value)


def _empty(value: JsonValue) -> str:
    """A value that is false: most members of a plan are null, false, [] or {}."""
    if value is None:
        return "null"
    if value is False:
        return "false"
    return "[]" if isinstance(value, list) else "{}" if isinstance(value, dict) else repr(value)
