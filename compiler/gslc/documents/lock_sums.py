"""Sums that must agree inside a locked entry: files, header, tensor table."""

from __future__ import annotations

from gslc.ir.facts import GgufFacts, ModelFacts, SafetensorsFacts
from gslc.ir.tensor_types import GGML_TYPES, SAFETENSORS_BITS, ggml_group_bytes, safetensors_group_bytes


def contradiction(facts: ModelFacts) -> str | None:
    """The first sentence in which the entry contradicts itself; None when all sums agree."""
    formats = sum(part is not None for part in (facts.gguf, facts.safetensors, facts.speech))
    if formats != (0 if facts.kind == "other" else 1):
        return f"an entry of kind {facts.kind} with {formats} sets of facts"
    sizes = {fact.path: fact.size_bytes for fact in facts.files}
    if len(sizes) != len(facts.files):
        return "a file is listed twice"
    if len({other.name for other in facts.other_quantizations}) != len(facts.other_quantizations):
        return "another quantisation is listed twice"
    if facts.other_quantizations and facts.gguf is None:
        return "other quantisations of files that are no GGUF"
    if facts.projector is None and facts.projector_file is not None:
        return f"the projector {facts.projector_file} has no facts"
    if facts.projector is not None:
        if facts.projector_file not in sizes:
            return f"the projector {facts.projector_file} is not among the files"
        wrong = _gguf_contradiction(facts.projector, sizes[facts.projector_file], "projector")
        if wrong is not None:
            return wrong
    if facts.gguf is not None:
        weights = sum(size for path, size in sizes.items() if path != facts.projector_file)
        return _gguf_contradiction(facts.gguf, weights, "gguf")
    if facts.safetensors is not None:
        return _safetensors_contradiction(facts.safetensors)
    if facts.speech is not None and sizes.get(facts.speech.model_file) != facts.speech.model_bytes:
        return f"{facts.speech.model_file} has another size among the files than in `speech`"
    return None


def _gguf_contradiction(facts: GgufFacts, file_bytes: int, name: str) -> str | None:
    if facts.file_bytes != file_bytes:
        return f"{name}.file_bytes is {facts.file_bytes}, the files have {file_bytes}"
    if any(group.type not in GGML_TYPES for group in facts.tensors):
        return f"{name} names a tensor type that ggml doesn't have"
    tensors = sum(map(ggml_group_bytes, facts.tensors))
    if facts.header_bytes + tensors > file_bytes:
        return f"{name}: header and tensors need {facts.header_bytes + tensors} bytes, the files have {file_bytes}"
    return None


def _safetensors_contradiction(facts: SafetensorsFacts) -> str | None:
    if not facts.tensors:
        return None
    if any(group.type not in SAFETENSORS_BITS for group in facts.tensors):
        return "safetensors names a dtype that the format doesn't have"
    total = sum(map(safetensors_group_bytes, facts.tensors))
    if total != facts.parameter_bytes:
        return f"parameter_bytes is {facts.parameter_bytes}, the tensor table has {total}"
    return None
