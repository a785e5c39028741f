"""Reads unit files by systemd's rules (load-fragment.c, extract-word.c, specifier.c, replace_env): what a process is given.

Written from systemd.syntax(7), systemd.service(5) and measurements, apart from the code that writes units; the real test
shows that the manager itself agrees on the corpus.
"""

from __future__ import annotations

import re

_C_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "s": " ",
    "\\": "\\",
    '"': '"',
    "'": "'",
}
_WIDTHS = {"x": 2, "u": 4, "U": 8}


def directives(text: str) -> list[tuple[str, str, str]]:
    """(section, key, raw value) in order, lines joined, comments dropped."""
    found: list[tuple[str, str, str]] = []
    section = ""
    pending = ""
    for line in text.split("\n"):
        bare = line.lstrip(" \t")
        if bare.startswith(("#", ";")):
            continue
        trailing = len(line) - len(line.rstrip("\\"))
        if trailing % 2:
            pending += line[:-1] + " "
            continue
        whole, pending = (pending + line).strip(" \t\r"), ""
        if not whole:
            continue
        if whole.startswith("["):
            section = whole.strip("[]")
            continue
        key, equals, value = whole.partition("=")
        if not equals:
            raise ValueError(f"not a directive: {whole!r}")
        found.append((section, key.strip(), value.strip(" \t")))
    return found


def values(text: str, key: str) -> list[str]:
    """All raw values of one key."""
    return [value for _, name, value in directives(text) if name == key]


def words(raw: str) -> list[str]:
    """A value cut into words: quotes taken off, C escapes undone."""
    result: list[str] = []
    place = 0
    while place < len(raw):
        if raw[place] in " \t\n\r":
            place += 1
            continue
        if raw[place] == ";" and (place + 1 == len(raw) or raw[place + 1] in " \t"):
            raise ValueError("a bare ; starts another command")
        word, place = _word(raw, place)
        result.append(word)
    return result


def _word(raw: str, place: int) -> tuple[str, int]:
    pieces: list[bytes] = []
    quote = ""
    while place < len(raw):
        character = raw[place]
        if quote == "" and character in " \t\n\r":
            break
        if character == "\\":
            piece, place = _escape(raw, place + 1)
            pieces.append(piece)
            continue
        if quote == "" and character in "\"'":
            quote = character
        elif character == quote:
            quote = ""
        else:
            pieces.append(character.encode())
        place += 1
    if quote:
        raise ValueError(f"an open quote in {raw!r}")
    return b"".join(pieces).decode(), place


def _escape(raw: str, place: int) -> tuple[bytes, int]:
    character = raw[place]
    if character in _C_ESCAPES:
        return _C_ESCAPES[character].encode(), place + 1
    width = _WIDTHS.get(character)
    if not width:
        raise ValueError(f"an escape that systemd refuses: \\{character}")
    digits = raw[place + 1 : place + 1 + width]
    code = int(digits, 16)
    return (bytes([code]) if character == "x" else chr(code).encode()), place + 1 + width


def specifiers(word: str, known: dict[str, str]) -> str:
    """`%%` and the specifiers known; another one is a mistake."""

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        return "%" if name == "%" else known[name]

    return re.sub(r"%(.|\Z)", replacement, word, flags=re.DOTALL)


def command(raw: str, known: dict[str, str], environment: dict[str, str]) -> list[str]:
    """The argv that an Exec line gives a process."""
    parts = [specifiers(word, known) for word in words(raw)]
    program = parts[0].lstrip("@-+!:")
    return [program, *(expanded for part in parts[1:] for expanded in _variables(part, environment))]


def _variables(word: str, environment: dict[str, str]) -> list[str]:
    if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", word):
        return environment.get(word[1:], "").split()

    def replacement(match: re.Match[str]) -> str:
        return "$" if match.group() == "$$" else environment.get(match.group(1) or match.group(2), "")

    return [re.sub(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)", replacement, word)]


def environment(text: str, known: dict[str, str]) -> dict[str, str]:
    """What all Environment= lines set."""
    result: dict[str, str] = {}
    for raw in values(text, "Environment"):
        for word in words(raw):
            name, _, value = specifiers(word, known).partition("=")
            result[name] = value
    return result
