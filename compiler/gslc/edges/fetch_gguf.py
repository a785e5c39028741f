"""The facts of a GGUF model: which files, their headers, the projector, what it is."""

from __future__ import annotations

import os

from gslc.edges.fetching import Fetch
from gslc.edges.gguf_choice import GgufModel, choose_model, choose_projector, is_projector
from gslc.edges.gguf_header import GgufHeader, read_header
from gslc.edges.gguf_model import gguf_facts
from gslc.edges.gguf_others import other_quantizations
from gslc.edges.header_cursor import HeaderError
from gslc.edges.hub import HubError, HubFile
from gslc.edges.hub_file import LocalReader
from gslc.engines.asked import wanted_projector
from gslc.engines.kinds import gguf_kind
from gslc.ir.facts import GgufFacts, ModelFacts

MIB = 1024**2
# A header has 0.6-10 MB: few requests for the usual one, and little too much at its end.
FIRST_PART_CHUNK = 2 * MIB
LATER_PART_CHUNK = 1 * MIB  # headers of later parts have a few KiB
PROJECTOR = "clip"


def fetch_gguf(fetch: Fetch) -> ModelFacts:
    """The facts of the GGUF model that the source names; HubError for what can't be."""
    model = choose_model(fetch.source, fetch.listing)
    fetch.step(f"reading the header of {model.name}")
    facts = _read(fetch, model)
    if facts.architecture == PROJECTOR:
        raise HubError(
            "GS259",
            f"{model.name} of {fetch.source.text} is a projector, not a model",
            "name the model; a projector beside it is found, or named by `mmproj`",
        )
    projector_file = _projector_file(fetch, model, gguf_kind(facts, None).kind)
    projector = None if projector_file is None else _read_projector(fetch, projector_file)
    kind = gguf_kind(facts, projector)
    files = model.files if projector_file is None else (*model.files, projector_file)
    return ModelFacts(
        source=fetch.source.text,
        revision=fetch.listing.revision,
        files=fetch.pinned(files),
        kind=kind.kind,
        kind_reason=kind.reason,
        gguf=facts,
        projector=projector,
        projector_file=None if projector_file is None else projector_file.path,
        other_quantizations=other_quantizations(fetch.source, fetch.listing, model),
    )


def _read(fetch: Fetch, model: GgufModel) -> GgufFacts:
    try:
        return gguf_facts([_header(fetch, file, first=index == 0) for index, file in enumerate(model.files)])
    except HeaderError as wrong:
        raise malformed(fetch, wrong) from None


def _header(fetch: Fetch, file: HubFile, *, first: bool) -> GgufHeader:
    return read_header(fetch.reader(file), chunk_bytes=FIRST_PART_CHUNK if first else LATER_PART_CHUNK)


def malformed(fetch: Fetch, wrong: HeaderError) -> HubError:
    """The error for a header that engines would refuse too."""
    message = f"{wrong.name} of {fetch.source.text} has no usable GGUF header: at byte {wrong.offset}: {wrong.message}"
    return HubError("GS256", message, "choose another file or revision; engines refuse this one too")


def _projector_file(fetch: Fetch, model: GgufModel, kind: str) -> HubFile | None:
    """The projector to serve with; only language models take one."""
    wanted = wanted_projector(fetch.model)
    if wanted == "" or (wanted is not None and wanted.startswith("/")) or kind != "chat":
        return None  # switched off; or the user's own file on the hosts; or no use for one
    return choose_projector(fetch.listing, model, wanted)


def local_projector(path: str) -> GgufFacts:
    """The facts of a projector on this machine; HubError where the file is none."""
    try:
        size = os.stat(path).st_size
        facts = gguf_facts([read_header(LocalReader(path, os.path.basename(path), size))])
    except (OSError, ValueError) as fault:
        why = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
        raise HubError("GS259", f"the projector {path} can't be read: {why}", "name a file of this machine") from None
    except HeaderError as wrong:
        message = f"{path} has no usable GGUF header: at byte {wrong.offset}: {wrong.message}"
        raise HubError("GS256", message, "choose another projector; engines refuse this one too") from None
    if facts.architecture != PROJECTOR:
        message = f"{path} is no projector though --mmproj names it: it is {facts.architecture}"
        raise HubError("GS259", message, "name the projector by --mmproj")
    return facts


def _read_projector(fetch: Fetch, file: HubFile) -> GgufFacts:
    fetch.step(f"reading the header of {file.path}")
    try:
        facts = gguf_facts([_header(fetch, file, first=True)])
    except HeaderError as wrong:
        raise malformed(fetch, wrong) from None
    if facts.architecture != PROJECTOR:
        found = "its name says so" if is_projector(file.path) else "`mmproj` names it"
        message = f"{file.path} of {fetch.source.text} is no projector though {found}: it is {facts.architecture}"
        raise HubError("GS259", message, "name the projector by `mmproj`")
    return facts
