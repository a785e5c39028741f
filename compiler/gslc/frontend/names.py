"""Words with a form of their own: names, labels, addresses, paths, images, versions, choices.

Every reader takes the text of a scalar and whether it was quoted, and answers the value or the Mistake.
"""

from __future__ import annotations

import re

from gslc.frontend.mistake import Mistake, listed, nearest, shown
from gslc.frontend.sizes import ScalarReader

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
# Windows can't have files of these names, whatever the extension; output folders are checked out there too.
DEVICE_NAMES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
LABEL_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?\Z")
LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/+@-]{0,126}[A-Za-z0-9])?\Z")
VERSION = re.compile(r"(?=[^\n]*[0-9])[A-Za-z0-9][A-Za-z0-9._+!-]{0,63}\Z")
HOST_ADDRESS = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?\Z"
)
IPV4_BYTE = re.compile(r"(?:0|[1-9][0-9]{0,2})\Z")
IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}\Z")
MULTICAST = re.compile(r"(?:22[4-9]|23[0-9])\.|ff[0-9a-f]{2}:")  # 224.0.0.0/4 and ff00::/8, the latter in full groups
NETWORK_ITSELF = re.compile(r"0\.(?!0\.0\.0\Z)")  # 0.0.0.0/8, but for the one that means all interfaces
ABSOLUTE_PATH = re.compile(r"(?:/|[A-Za-z]:[\\/])[^\x00-\x1f\x7f]{0,1023}\Z")
IMAGE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"  # registry
    r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*"  # repository
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"  # tag
    r"(?:@sha256:[0-9a-f]{64})?\Z"
)
SERVED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z")
CACHE_TYPE = re.compile(r"[a-z0-9][a-z0-9_]{0,31}\Z")
UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{2,127}\Z")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
GPU_PIN = re.compile(r"([a-z0-9-]{1,63})/(0|[1-9][0-9]{0,3})\Z")
MAX_TEXT_CHARACTERS = 32_768  # systemd refuses lines above 1 MiB, Linux single arguments above 128 KiB


def name(text: str, quoted: bool) -> str | Mistake:
    """A name that can stand in file names, unit names and job names of every target."""
    if not NAME.match(text):
        better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")
        action = f"did you mean {better}?" if better and better not in DEVICE_NAMES else "write, e.g. atlas-1"
        return Mistake(
            code="GS140",
            message=f"is {shown(text)}; a name has 1 to 63 characters of a-z, 0-9 and -, and no - at its ends",
            help=action,
        )
    if text in DEVICE_NAMES:
        return Mistake(
            code="GS140",
            message=f"is {shown(text)}, which is a device on Windows and can't name a file there",
            help=f"did you mean {text}-0?",
        )
    return text


def pattern(expression: re.Pattern[str], what: str, example: str, code: str = "GS149") -> ScalarReader[str]:
    """The reader of words of one form."""

    def read(text: str, quoted: bool) -> str | Mistake:
        if expression.match(text):
            return text
        return Mistake(code=code, message=f"wants {what}, not {shown(text)}", help=f"write it like {example}")

    return read


def choice(*words: str) -> ScalarReader[str]:
    """The reader of one word out of a closed set."""
    known = frozenset(words)

    def read(text: str, quoted: bool) -> str | Mistake:
        if text in known:
            return text
        near = nearest(text, words)
        action = f"did you mean {near[0]}?" if near else f"write one of {listed(words)}"
        return Mistake(code="GS136", message=f"wants {listed(words)}, not {shown(text)}", help=action)

    return read


label_key = pattern(LABEL_KEY, "a label", "rack")
label_value = pattern(LABEL_VALUE, "a label's value", "r1")
version = pattern(VERSION, "a version", '"0.26.0"', "GS147")
image = pattern(IMAGE, "a container image", "ghcr.io/ggml-org/llama.cpp:server-cuda-b11669", "GS146")
served_name = pattern(SERVED_NAME, "a model name as clients send it", "qwen2.5-7b-instruct")
cache_type = pattern(CACHE_TYPE, "a type of the KV cache", "q8_0")
uuid = pattern(UUID, "the UUID of a card", "GPU-8f1d0f6e-3b0c-4f2a-9c55-2f6f0f2f7a11")


def address(text: str, quoted: bool) -> str | Mistake:
    """An IPv4 or IPv6 address or a host name, without scheme and port."""
    wrong = Mistake(
        code="GS144",
        message=f"wants an address or a host name, not {shown(text)}",
        help="write it without scheme and port: 10.0.0.11, fd00::11 or atlas.example.org",
    )
    if re.match(r"[0-9.]+\Z", text):
        parts = text.split(".")
        good = len(parts) == 4 and all(IPV4_BYTE.match(part) and int(part) < 256 for part in parts)
        return one_host(text) if good else wrong
    if ":" in text:
        if not IPV6.match(text):
            return wrong
        from ipaddress import AddressValueError, IPv6Address  # 3 ms that only IPv6 pays

        try:
            return one_host(str(IPv6Address(text)))
        except AddressValueError:
            return wrong
    return text if len(text) <= 253 and HOST_ADDRESS.match(text) else wrong


def one_host(text: str) -> str | Mistake:
    """An IP address, unless no host can have it."""
    if MULTICAST.match(text):
        what = "a multicast address"
    elif text == "255.255.255.255":
        what = "the broadcast address"
    elif NETWORK_ITSELF.match(text):
        what = "an address of 0.0.0.0/8"
    else:
        return text
    return Mistake(code="GS144", message=f"is {text}, {what}, which no host has", help="write the host's own")


def absolute_path(text: str, quoted: bool) -> str | Mistake:
    """A path on a host, from its root, without `..`."""
    if not ABSOLUTE_PATH.match(text):
        return Mistake(
            code="GS145",
            message=f"wants a path from the root, not {shown(text)}",
            help="write it like /var/lib/gslc/models",
        )
    if ".." in re.split(r"[\\/]", text):
        return Mistake(
            code="GS145", message=f"is {shown(text)}; '..' may not stand in a path", help="write the path out"
        )
    return text


def line(text: str, quoted: bool) -> str | Mistake:
    """Text of one line without control characters."""
    found = CONTROL.search(text)
    if found:
        return Mistake(
            code="GS149",
            message=f"holds the control character U+{ord(found.group()):04X}",
            help="write it in one line, without tabs",
        )
    if len(text) > MAX_TEXT_CHARACTERS:
        return Mistake(
            code="GS137",
            message=f"has {len(text):,} characters; more than {MAX_TEXT_CHARACTERS:,} are not passed to a program",
            help="put it into a file on the host and pass its path",
        )
    return text


def gpu_pin(text: str, quoted: bool) -> tuple[str, int] | Mistake:
    """Host and index of `atlas/0`."""
    found = GPU_PIN.match(text)
    if not found:
        return Mistake(code="GS149", message=f"wants host/index, not {shown(text)}", help="write it like atlas/0")
    return found[1], int(found[2])
