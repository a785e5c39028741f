"""`nvidia-smi -q -x` -> the cards of one host, in PCI order as the tool prints them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, XMLParser

from gslc.frontend.importers.foreign import check_size
from gslc.frontend.importers.records import MIB, ProbedCard, Refused

COMMAND = "nvidia-smi -q -x"
ROOT = "nvidia_smi_log"
# nvidia-smi writes `<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">` and nothing else that is declared. expat
# doesn't load external DTDs; entities can only come from an internal subset `[...]`, or from `<!ENTITY` inside one.
_DOCTYPE = re.compile(r"<!DOCTYPE\s+[A-Za-z_][\w.-]*\s*(?:SYSTEM\s+(?:\"[^\"\[\]<>]*\"|'[^'\[\]<>]*')\s*)?>")
_BEFORE_ROOT = re.compile(r"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*", re.DOTALL)
_SIZE = re.compile(r"([0-9]{1,12}) MiB\Z")


def split_logs(text: str) -> Iterator[tuple[int, str]]:
    """The documents of a file that holds several hosts' outputs one after another, each with its first line."""
    ends = [match.end() for match in re.finditer(rf"</{ROOT}>", text)]
    start = 0
    for end in ends or [len(text)]:
        yield text.count("\n", 0, start) + 1, text[start:end]
        start = end
    if ends and text[start:].strip():
        yield text.count("\n", 0, start) + 1, text[start:]


def read_log(text: str, first_line: int = 1) -> Element:
    """The root element of one document; Refused for anything that nvidia-smi doesn't write."""
    check_size(text)
    body = text.lstrip("\ufeff")
    if body.lstrip()[:1] != "<":
        raise Refused(
            "GS180",
            f"this is not XML; it starts with {body.lstrip()[:20]!r}",
            f"import the output of `{COMMAND}`",
            first_line,
        )
    head = _BEFORE_ROOT.match(body)
    at = head.end() if head else 0
    if body.startswith("<!DOCTYPE", at):
        doctype = _DOCTYPE.match(body, at)
        if doctype is None:
            raise Refused(
                "GS182",
                "the DOCTYPE declares more than nvidia-smi's",
                f"import the output of `{COMMAND}` unchanged",
                first_line,
            )
        at = doctype.end()
    declared = body.find("<!DOCTYPE", at) + 1 or body.find("<!ENTITY") + 1
    if declared:
        line = first_line + body.count("\n", 0, declared)
        raise Refused("GS182", "the document declares entities", f"import the output of `{COMMAND}` unchanged", line)
    root = _parse(body[at:], first_line + body.count("\n", 0, at))
    if root.tag != ROOT:
        raise Refused(
            "GS180",
            f"the root element is <{root.tag[:40]}>, not <{ROOT}>",
            f"import the output of `{COMMAND}`",
            first_line,
        )
    return root


def _parse(body: str, first_line: int) -> Element:
    """The root of a document without declarations."""
    parser = XMLParser()  # noqa: S314 - `read_log` has refused every declaration
    try:
        parser.feed(body)
        root: Element = parser.close()
    except ParseError as error:
        line, column = error.position
        problem = error.msg.split(":")[0]
        raise Refused(
            "GS180",
            f"the XML breaks off or is damaged: {problem}",
            f"import the output of `{COMMAND}` whole",
            first_line + line - 1,
            column + 1,
        ) from error
    except (ValueError, RecursionError) as error:  # a lone surrogate can't be encoded for expat
        raise Refused("GS180", "the XML holds characters that are none", None, first_line) from error
    return root


def cards_of_log(root: Element) -> tuple[list[ProbedCard], list[int]]:
    """The cards in order, and the places (counted from 0) of those that run MIG."""
    cards: list[ProbedCard] = []
    sliced: list[int] = []
    for index, gpu in enumerate(root.iter("gpu")):
        name = _text(gpu, "product_name")
        if name is None:
            raise Refused("GS180", f"GPU {index} has no product_name", f"import the output of `{COMMAND}`")
        if _text(gpu, "mig_mode/current_mig") == "Enabled":
            sliced.append(index)
        cards.append(
            ProbedCard(
                name=name,
                vendor="nvidia",
                reported_bytes=_size(gpu, "fb_memory_usage/total"),
                reserved_bytes=_size(gpu, "fb_memory_usage/reserved"),
                compute_capability=_capability(gpu),
                uuid=_text(gpu, "uuid"),
            )
        )
    return cards, sliced


def driver_of_log(root: Element) -> str:
    """What the log says about the driver, for the comment that names the source."""
    driver = _text(root, "driver_version")
    return f"driver {driver}" if driver else "unknown driver"


def _capability(gpu: Element) -> tuple[int, int] | None:
    """The compute capability where the architecture has only one; the XML doesn't hold it."""
    from gslc.frontend.importers.cards import SINGLE_CAPABILITY

    return SINGLE_CAPABILITY.get(_text(gpu, "product_architecture") or "")


def _text(element: Element, path: str) -> str | None:
    found = element.find(path)
    text = (found.text or "").strip() if found is not None else ""
    return None if text in ("", "N/A", "[N/A]", "Not Supported", "[Not Supported]", "Unknown Error") else text


def _size(element: Element, path: str) -> int | None:
    match = _SIZE.match(_text(element, path) or "")
    return int(match.group(1)) * MIB if match else None
