r"""Text for systemd unit files: every word that comes from outside passes through here, once.

The rules are those of systemd 252 and later, checked against the running manager: C escapes are undone first, then
specifiers (`%`), then variables (`$`, only in the arguments of Exec lines), so a `$` can be protected by doubling alone
(`\x24` would be expanded all the same).
"""

from __future__ import annotations

import re

from gslc.targets.render import Quoted

_BARE_WORD = re.compile(r"[A-Za-z0-9_+=:,./@^~{}()\[\]*?!|&<>-]+\Z")
_NEEDS_ESCAPE = re.compile('[\\\\"%$\x00-\x1f\x7f-\x9f\u2028\u2029]')
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\-]+\.(service|target)\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SPECIAL = {"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escape(text: str, dollar: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        character = match.group()
        if character == "\0":
            raise ValueError("a NUL can't be given to a process")
        if character == "$":
            return dollar
        return _SPECIAL.get(character) or "".join(f"\\x{byte:02x}" for byte in character.encode())

    return _NEEDS_ESCAPE.sub(replacement, text)


def exec_argument(text: str) -> Quoted:
    """One argument of an Exec line; bare where nothing in it means anything to systemd."""
    if _BARE_WORD.match(text):
        return Quoted(text)
    return Quoted(f'"{_escape(text, "$$")}"')


def exec_program(path: str) -> Quoted:
    """The first word of an Exec line: absolute, so that no `@ - : + !` prefix can start it; `$` is literal there."""
    if not path.startswith("/"):
        raise ValueError(f"the program must be an absolute path: {path!r}")
    if _BARE_WORD.match(path):
        return Quoted(path)
    return Quoted(f'"{_escape(path, "$")}"')


def environment(name: str, value: str) -> Quoted:
    """One assignment for Environment=, where `$` is literal and `%` is not."""
    if not _ENV_NAME.match(name):
        raise ValueError(f"not a variable name: {name!r}")
    return Quoted(f'"{name}={_escape(value, "$")}"')


def environment_below(name: str, specifier: str, folder: str) -> Quoted:
    """An assignment whose value lies below a folder that systemd names: `%C` caches, `%S` state, `%d` credentials."""
    if not _ENV_NAME.match(name) or specifier not in ("%C", "%S", "%d"):
        raise ValueError(f"not a variable below a folder: {name!r} {specifier!r}")
    return Quoted(f'"{name}={specifier}/{_escape(folder, "$")}"')


def path_value(path: str) -> Quoted:
    """An absolute path as one of the blank-separated values of a path setting; `$` is literal there."""
    return exec_program(path)


def whole_path(path: str) -> Quoted:
    """A path as the whole value of a setting that takes no quotes (EnvironmentFile=, LoadCredential=)."""
    if not path.startswith("/") or re.search(r"[\x00-\x1f\x7f\\]", path) or path != path.strip():
        raise ValueError(f"a path that systemd can't be told: {path!r}")
    return Quoted(path.replace("%", "%%"))


def text_value(text: str) -> Quoted:
    """Free text up to the end of the line (Description=): control characters and a closing backslash become blanks."""
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]", " ", text).strip()
    return Quoted(plain.replace("%", "%%"))


def unit_name(name: str) -> Quoted:
    """A unit's name, which is checked, since nothing in it could be escaped."""
    if not _UNIT_NAME.match(name) or len(name) > 255:
        raise ValueError(f"not a unit name: {name!r}")
    return Quoted(name)


def comment(text: str) -> Quoted:
    """Text for a `#` line."""
    return Quoted(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", " ", text).rstrip(" \\"))


def command_line(program: str, arguments: tuple[str, ...]) -> Quoted:
    """A whole Exec value: the program, then one line for each option together with the values that follow it."""
    lines = [str(exec_program(program))]
    for argument in arguments:
        word = exec_argument(argument)
        if argument.startswith("-"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return Quoted(" \\\n    ".join(lines))
