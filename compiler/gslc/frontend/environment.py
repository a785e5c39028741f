"""The keys `env`, `args` and `command` of a model: what may be passed to an engine, and what may not."""

from __future__ import annotations

import re

from gslc.frontend import names
from gslc.frontend.fields import Scan
from gslc.frontend.mistake import Mistake, listed, nearest, shown
from gslc.frontend.secrets import SECRET_VARIABLE, read_secret
from gslc.frontend.source import Map, Mark, Node
from gslc.frontend.tokens import looks_secret
from gslc.ir.inputs import SecretRef

MAX_VARIABLES = 1_000
MAX_ARGUMENTS = 1_000
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
# These say which devices a process sees: the placement's own business.
PLACEMENT = re.compile(
    r"(?:CUDA|NVIDIA|HIP|ROCR|GPU|ASCEND(?:_RT)?|ZE|ONEAPI|MUSA|MTHREADS|AMD)_(?:[A-Z]+_)*(?:VISIBLE_DEVICES?|DEVICE_ORDER|DEVICE_ORDINAL"
    r"|DEVICE_SELECTOR|AFFINITY_MASK)(?:_[A-Z]+)?\Z|(?:CUDA|HIP|ROCR|ASCEND)[A-Z_]*VISIBLE[A-Z_]*\Z|GGML_(?:CUDA|VK)_VISIBLE_DEVICES\Z"
)
# These run or load other code than the one that was pinned.
LOADER = re.compile(
    r"LD_[A-Z0-9_]+\Z|DYLD_[A-Z0-9_]+\Z|PYTHON(?:PATH|HOME|STARTUP|INSPECT|USERBASE|BREAKPOINT|EXECUTABLE|WARNINGS)\Z|PATH\Z|BASH_ENV\Z"
    r"|ENV\Z|IFS\Z|SHELL\Z|SHELLOPTS\Z|PERL5(?:LIB|OPT)\Z|NODE_OPTIONS\Z|GCONV_PATH\Z|GLIBC_TUNABLES\Z|LOCPATH\Z|GIT_[A-Z_]+\Z"
)
PLACEHOLDERS = ("port", "host", "name", "gpus", "model", "rank", "nodes", "leader")
BRACES = re.compile(r"\{([^{}]*)\}|[{}]")
SECRET_FLAG = re.compile(r"--(?:api[-_]key|hf[-_]token|token|password)(?:=|\Z)")


def variable(text: str, quoted: bool) -> str | Mistake:
    """The name of an environment variable that a model may set."""
    if not VARIABLE.match(text):
        return Mistake(
            code="GS163",
            message=f"is {shown(text)}, which names no environment variable",
            help="use A-Z, 0-9 and _, no digit first",
        )
    upper = text.upper()  # Windows doesn't tell Path from PATH
    if PLACEMENT.match(upper):
        return Mistake(
            code="GS161",
            message=f"is {text}, which would override the placement",
            help="remove it, and pin cards with gpus: [host/0]",
        )
    if LOADER.match(upper):
        return Mistake(
            code="GS162",
            message=f"is {text}, which would load other code than the pinned one",
            help="remove it; set it in the image",
        )
    return text


def literal(text: str, quoted: bool) -> str | Mistake:
    """Text of one line that holds no token."""
    if looks_secret(text):
        return Mistake(
            code="GS160", message="holds a literal token or password", help="write {secret: name} in env or api_key"
        )
    return names.line(text, quoted)


def template(text: str, quoted: bool) -> str | Mistake:
    """As `literal`, with braces for placeholders only."""
    for found in BRACES.finditer(text):
        if found[1] in PLACEHOLDERS:
            continue
        near = nearest(found[1] or "", PLACEHOLDERS)
        action = f"did you mean {{{near[0]}}}?" if near else "braces stand for placeholders only"
        message = f"holds {shown(found.group())}; known are {listed('{' + word + '}' for word in PLACEHOLDERS)}"
        return Mistake(code="GS164", message=message, help=action)
    return literal(text, quoted)


def read_environment(
    scan: Scan, node: Node, mark: Mark, label: str, *, templates: bool
) -> tuple[tuple[str, str | SecretRef], ...]:
    """The variables of a model sorted by name; with `templates` their values may hold placeholders."""
    result: dict[str, str | SecretRef] = {}
    entries = scan.entries(node, mark, label)
    if len(entries) > MAX_VARIABLES:
        scan.refuse(
            mark, "GS175", f"{label} has {len(entries):,} variables; {MAX_VARIABLES:,} is the most", "shorten it"
        )
        return ()
    for key, (value, at, key_mark) in entries.items():
        name = scan.scalar(key, key_mark | 1, f"a key of {label}", variable, None)
        if name is None:
            continue
        if isinstance(value, Map):
            secret = read_secret(scan, value, at, f"{key} in {label}")
            if secret is not None:
                result[name] = secret
            continue
        if SECRET_VARIABLE.search(key.upper()) and value.__class__ is str:
            message = f"{key} in {label} is given as text; it names a secret"
            scan.refuse(at, "GS160", message, f"write {key}: {{secret: name}}")
            continue
        text = scan.scalar(value, at, f"{key} in {label}", template if templates else literal, None)
        if text is not None:
            result[name] = text
    return tuple(sorted(result.items()))


def read_arguments(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[str, ...]:
    """The arguments for an engine, in order."""
    result: list[str] = []
    for number, (item, at) in enumerate(scan.items(node, mark, label, MAX_ARGUMENTS), 1):
        text = scan.scalar(item, at, f"item {number} of {label}", literal, None)
        if text is None:
            continue
        if SECRET_FLAG.match(text):
            message = f"{text.partition('=')[0]} in {label} would show a secret to everyone who can list processes"
            scan.refuse(at, "GS160", message, "use api_key: {secret: name}, or env with {secret: name}")
        result.append(text)
    return tuple(result)


def read_command(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[str, ...]:
    """A program and its arguments, with placeholders."""
    result: list[str] = []
    for number, (item, at) in enumerate(scan.items(node, mark, label, MAX_ARGUMENTS), 1):
        text = scan.scalar(item, at, f"item {number} of {label}", template, None)
        if text is not None:
            result.append(text)
    if isinstance(node, list) and not node:
        scan.refuse(mark, "GS133", f"{label} is empty", "write the program and its arguments")
    return tuple(result)
