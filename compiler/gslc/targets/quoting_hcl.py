"""Text for Nomad jobs: every string is a quoted HCL2 string in which `${` and `%{` are no templates.

After HCL, the Nomad client looks once more for `${name}` at run time; that layer knows no escape, so `client_reference`
finds what it would replace and the target refuses it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from gslc.targets.render import Quoted

_NEEDS_ESCAPE = re.compile('[\\\\"\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]')
_SPECIAL = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_CLIENT_REFERENCE = re.compile(r"\$\{[A-Za-z0-9_.\-]+\}")
_CLIENT_FOLDERS = ("NOMAD_SECRETS_DIR", "NOMAD_TASK_DIR", "NOMAD_ALLOC_DIR")


def _replacement(match: re.Match[str]) -> str:
    character = match.group()
    if character == "\0":
        raise ValueError("a NUL can't be given to a process")
    return _SPECIAL.get(character) or f"\\u{ord(character):04x}"


def string(text: str) -> Quoted:
    """A string that HCL reads back as `text`."""
    escaped = _NEEDS_ESCAPE.sub(_replacement, text)
    return Quoted(f'"{escaped.replace("${", "$${").replace("%{", "%%{")}"')


def is_kept(text: str) -> bool:
    """False where HCL would hand over other code points: it normalises strings to NFC (cty.StringVal), escapes too."""
    return unicodedata.is_normalized("NFC", text)


def aligned(values: Mapping[str, Quoted]) -> tuple[tuple[Quoted, Quoted], ...]:
    """A map's keys and values, sorted, the keys padded to one width as `nomad fmt` would."""
    keys = {name: string(name) for name in sorted(values)}
    width = max((len(key) for key in keys.values()), default=0)
    return tuple((Quoted(key.ljust(width)), values[name]) for name, key in keys.items())


def client_path(folder: str, path: str) -> Quoted:
    """A path below one of the client's folders, whose name the client fills in at run time."""
    if folder not in _CLIENT_FOLDERS:
        raise ValueError(f"not a folder of the client: {folder!r}")
    return Quoted(f'"${{{folder}}}/{string(path)[1:-1]}"')


def client_reference(text: str) -> str | None:
    """The first `${name}` in `text`, which the Nomad client would replace at run time; None where there is none."""
    found = _CLIENT_REFERENCE.search(text)
    return found.group() if found else None


def comment(text: str) -> Quoted:
    """Text for a `#` line."""
    return Quoted(re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]", " ", text))


def heredoc(text: str, marker: str) -> Quoted:
    """Lines between `<<marker` and `marker`, where HCL reads templates and no backslashes."""
    if any(line.strip() == marker for line in text.splitlines()) or not text.endswith("\n"):
        raise ValueError(f"a text that can't stand before {marker}")
    return Quoted(text.replace("${", "$${").replace("%{", "%%{"))
