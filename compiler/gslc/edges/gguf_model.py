"""The facts of a GGUF model from the headers of all its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from gslc.edges.gguf_header import HEADER_LIMIT, IMAGE_FALLBACK, GgufHeader, read_header
from gslc.edges.header_cursor import HeaderError
from gslc.edges.ranges import RangeReader
from gslc.edges.tensor_groups import RawTensor, group_tensors
from gslc.ir.facts import GgufFacts

BLOCKS_MAX = 512  # src/llama-hparams.h, LLAMA_MAX_LAYERS
# Beginnings of tensor names in stable-diffusion.cpp's files.
_IMAGE_TENSORS = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.",
    "double_blocks.",
    "joint_blocks.",
)


def gguf_facts(headers: Sequence[GgufHeader]) -> GgufFacts:
    """The facts of a model from the headers of all its files; HeaderError where they don't belong together."""
    first = headers[0]
    architecture = _architecture(first)
    for header in headers:
        if header.big_endian:
            message = f"the file is big-endian (GGUF v{header.version}), which engines refuse: convert the model again"
            raise HeaderError(header.name, 4, message)
    _check_split(headers)
    blocks = first.hyper.get(f"{architecture}.block_count", 0)
    if isinstance(blocks, bool) or not isinstance(blocks, int) or not 0 <= blocks <= BLOCKS_MAX:
        raise HeaderError(
            first.name, 0, f"expected {architecture}.block_count to be a number of blocks, found {blocks}"
        )
    tensors = group_tensors(_all_tensors(headers))
    highest = max(
        (group.blocks[-1] for group in tensors if group.name.startswith("blk.{}") and group.blocks), default=-1
    )
    if highest >= blocks:
        message = (
            f"expected {architecture}.block_count to count the blocks, found {blocks} and tensors of block {highest}"
        )
        raise HeaderError(first.name, 0, message)
    return GgufFacts(
        architecture=architecture,
        hyper=dict(sorted(first.hyper.items())),
        vocabulary_size=first.vocabulary_size,
        tensors=tensors,
        header_sha256=_joined_sha256(headers),
        header_bytes=sum(header.header_bytes for header in headers),
        file_bytes=sum(header.file_bytes for header in headers),
    )


def _architecture(header: GgufHeader) -> str:
    """What the file says; "diffusion" for stable-diffusion.cpp's files, which are known by their tensors alone."""
    architecture = header.hyper.get("general.architecture")
    if isinstance(architecture, str) and architecture:
        return architecture
    if any(tensor.name.startswith(_IMAGE_TENSORS) for tensor in header.tensors):
        return IMAGE_FALLBACK
    raise HeaderError(header.name, 0, "expected the key general.architecture")


def _joined_sha256(headers: Sequence[GgufHeader]) -> str:
    """The header's own hash for one file; for a split the hash over the hashes of its files, in order."""
    if len(headers) == 1:
        return headers[0].header_sha256
    return hashlib.sha256("".join(header.header_sha256 for header in headers).encode("ascii")).hexdigest()


def _all_tensors(headers: Sequence[GgufHeader]) -> Iterable[RawTensor]:
    seen: set[str] = set()
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in seen:
                raise HeaderError(header.name, 0, f"the tensor {tensor.name} is in an earlier file of the split too")
            seen.add(tensor.name)
            yield tensor


def _check_split(headers: Sequence[GgufHeader]) -> None:
    """llama.cpp refuses a split whose files disagree on their number, order or tensor count."""
    for index, header in enumerate(headers):
        count = header.hyper.get("split.count", 1)
        number = header.hyper.get("split.no", 0)
        if count in (0, 1) and len(headers) == 1:
            return
        if count != len(headers):
            raise HeaderError(
                header.name, 0, f"expected split.count to be the {len(headers)} files of the model, found {count}"
            )
        if number != index:
            raise HeaderError(header.name, 0, f"expected split.no {index}, found {number}")
    declared = headers[0].hyper.get("split.tensors.count")
    found = sum(len(header.tensors) for header in headers)
    if declared is not None and declared != found:
        raise HeaderError(headers[0].name, 0, f"expected {declared} tensors in all files of the split, found {found}")


def read_gguf_header(reader: RangeReader, *, limit_bytes: int = HEADER_LIMIT) -> GgufFacts:
    """The facts of a model that is one file; HeaderError with offset and expectation otherwise."""
    return gguf_facts([read_header(reader, limit_bytes=limit_bytes)])
