"""What a reader of one value answers when the value is wrong: the reason without the place, which its caller knows."""

from __future__ import annotations

from collections.abc import Iterable

from gslc.frontend.tokens import redacted
from gslc.ir.record import dataclass

MAX_SHOWN = 60
MAX_COMPARED = 50  # long words: 5 ms
MAX_COMPARED_CHARACTERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A wrong value. `message` continues a sentence that begins with the key ("… wants a whole number, not 'x'")."""

    code: str
    message: str
    help: str | None = None


def shown(text: str) -> str:
    """A value of the user's as it is quoted in messages: without tokens, and cut where it is long."""
    text = redacted(text)
    return repr(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…")


def nearest(word: str, known: Iterable[str], count: int = 1) -> tuple[str, ...]:
    """The known words that a mistyped one may have meant, best first."""
    from difflib import get_close_matches  # 2 ms that only a mistake pays

    wanted = word.casefold()[:MAX_COMPARED_CHARACTERS]
    names = sorted(known)
    if len(names) > MAX_COMPARED:  # ten thousand hosts: only those that begin alike
        names = [name for name in names if name[:2].casefold() == wanted[:2]][:MAX_COMPARED]
    candidates = {name.casefold(): name for name in names}
    found = get_close_matches(wanted, candidates, n=count, cutoff=0.6)
    return tuple(candidates[name] for name in found)


def listed(words: Iterable[str], limit: int = 12) -> str:
    """Words in one line, the rest counted."""
    all_words = list(words)
    rest = len(all_words) - limit
    return ", ".join(all_words[:limit]) + (f" and {rest} more" if rest > 0 else "")
