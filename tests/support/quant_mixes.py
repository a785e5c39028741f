"""The tensor types that llama-quantize gives a model, by the name of the quantisation.

Rules of src/llama-quant.cpp at llama.cpp 5a44f27e2, llama_tensor_get_type, without importance matrix: what published
repositories hold, and so what an estimate from a file's size alone is to be compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from model_files import Sparse, gguf

from gslc.ir.facts import GgufFacts, TensorGroup
from gslc.ir.tensor_types import GGML_TYPES, ggml_group_bytes

BASES = {
    "BF16": "BF16", "F16": "F16", "Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q5_K_S": "Q5_K", "Q5_0": "Q5_0",
    "Q4_K_M": "Q4_K", "Q4_K_S": "Q4_K", "Q4_0": "Q4_0", "IQ4_XS": "IQ4_XS", "Q3_K_L": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_S": "Q3_K",
    "IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_S", "Q2_K": "Q2_K", "IQ2_M": "IQ2_S", "IQ2_XXS": "IQ2_XXS", "IQ1_S": "IQ1_S", "MXFP4_MOE": "MXFP4",
    "Q6_K_L": "Q6_K", "Q5_K_L": "Q5_K", "Q4_K_L": "Q4_K", "Q3_K_XL": "Q3_K", "Q2_K_L": "Q2_K",
}  # fmt: skip
# bartowski's own: as the quantisation after the name, with embeddings and output head of Q8_0
LARGE = {"Q6_K_L": "Q6_K", "Q5_K_L": "Q5_K_M", "Q4_K_L": "Q4_K_M", "Q3_K_XL": "Q3_K_L", "Q2_K_L": "Q2_K"}
SMALLEST = ("IQ2_XXS", "IQ1_S", "IQ2_M")
UNQUANTISED = ("F16", "BF16")
FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}  # where the rows are no multiple of 256; others: IQ4_NL
ALIGNMENT = 32


def mixed(facts: GgufFacts, quantization: str) -> GgufFacts:
    """The same model in another quantisation, with the size that its file would have."""
    tensors: dict[tuple[str, str, tuple[int, ...]], list[int]] = {}
    for group, block in _tensors(facts):
        kind = _type_of(facts, group, block, quantization)
        tensors.setdefault((group.name, kind, group.shape), []).extend([] if block is None else [block])
    found = tuple(
        TensorGroup(name=name, type=kind, shape=shape, blocks=tuple(blocks))
        for (name, kind, shape), blocks in sorted(tensors.items(), key=lambda entry: entry[0][:2])
    )
    header = facts.header_bytes or facts.vocabulary_size * 24
    data = sum(-(-ggml_group_bytes(group) // group.count // ALIGNMENT) * ALIGNMENT * group.count for group in found)
    return replace(facts, tensors=found, file_bytes=header + data, header_bytes=header)


def _tensors(facts: GgufFacts) -> Iterator[tuple[TensorGroup, int | None]]:
    for group in sorted(facts.tensors, key=lambda group: group.name):
        if group.blocks:
            yield from ((group, block) for block in group.blocks)
        else:
            yield group, None


def _type_of(facts: GgufFacts, group: TensorGroup, block: int | None, quantization: str) -> str:
    if group.type == "F32" or not group.name.endswith("weight") or len(group.shape) < 2:
        return group.type
    base = BASES[quantization]
    if quantization in UNQUANTISED:
        return base
    name = group.name.removeprefix("blk.{}.").removesuffix(".weight")
    tied = not any(one.name == "output.weight" for one in facts.tensors)
    if quantization in LARGE and name in ("token_embd", "output"):
        kind = "Q8_0"
    elif name == "output" or (name == "token_embd" and tied):
        kind = _head(quantization, base, group.shape[0])
    elif quantization == "MXFP4_MOE":
        kind = "MXFP4" if len(group.shape) > 2 else "Q8_0"
    elif name in ("token_embd", "per_layer_token_embd"):
        kind = {"IQ2_XXS": "Q2_K", "IQ1_S": "Q2_K", "IQ2_M": "IQ3_S"}.get(quantization, base)
    else:
        kind = _inside(facts, name, block or 0, LARGE.get(quantization, quantization), base)
    return _fitting(kind, group.shape[0])


def _head(quantization: str, base: str, row: int) -> str:
    if row % GGML_TYPES[base].block_elements or base == "Q8_0" or quantization == "MXFP4_MOE":
        return "Q8_0"
    return "Q5_K" if quantization in SMALLEST else "Q6_K"


def _inside(facts: GgufFacts, name: str, block: int, quantization: str, base: str) -> str:
    """A tensor of a block."""
    experts = facts.hyper.get(f"{facts.architecture}.expert_count", 0)
    blocks = facts.block_count
    more = block < blocks // 8 or block >= 7 * blocks // 8 or (block - blocks // 8) % 3 == 2
    grouped = _grouped(facts)
    if quantization in SMALLEST:
        return _inside_smallest(name, block < blocks // 8, quantization, base, grouped=grouped, eight=experts == 8)
    if name == "attn_v":
        if experts == 8:
            return "Q8_0"
        table = {
            "Q2_K": "Q4_K" if grouped else "Q3_K", "IQ3_XS": "Q4_K" if grouped else base, "IQ3_M": "Q4_K", "Q3_K_L": "Q5_K",
            "Q3_K_M": "Q5_K" if block < 2 else "Q4_K", "IQ4_XS": "Q5_K" if grouped else base, "Q4_K_S": "Q5_K" if block < 4 else base,
            "Q4_K_M": "Q6_K" if more else base, "Q5_K_M": "Q6_K" if more else base,
        }  # fmt: skip
        kind = table.get(quantization, base)
        return "Q5_K" if blocks == 80 and kind in ("Q3_K", "Q4_K") else kind
    if name == "attn_k":
        return "Q8_0" if experts == 8 else "IQ3_XXS" if quantization == "IQ3_XS" else base
    if name == "attn_q":
        return "IQ3_XXS" if quantization == "IQ3_XS" else base
    if name.startswith("ffn_down"):
        first = block < blocks // 8
        return {
            "Q2_K": "Q3_K", "Q3_K_M": "Q5_K" if block < blocks // 16 else "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K" if first else base,
            "Q4_K_M": "Q6_K" if more else base, "Q5_K_M": "Q6_K" if more else base, "Q4_K_S": "Q5_K" if first else base,
            "IQ4_XS": "Q5_K" if first else base,
        }.get(quantization, base)  # fmt: skip
    if name == "attn_output":
        table = {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
        eight = {"Q2_K", "IQ3_XS", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_M", "IQ4_XS"}
        return ("Q5_K" if quantization in eight else base) if experts == 8 else table.get(quantization, base)
    if name == "attn_qkv":
        return {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}.get(quantization, base)  # fmt: skip
    if name.startswith(("ffn_gate", "ffn_up")) and quantization == "IQ3_XS" and blocks // 8 <= block < 7 * blocks // 8:
        return "IQ3_XXS"
    return base


def _inside_smallest(name: str, first: bool, quantization: str, base: str, *, grouped: bool, eight: bool) -> str:
    if name == "attn_v":
        return "Q4_K" if grouped or eight else "IQ3_S" if quantization == "IQ2_M" else "Q2_K"
    if name == "attn_k" and eight:
        return "Q4_K"
    if name.startswith("ffn_down") and first:
        return "IQ3_S" if quantization == "IQ2_M" else "Q2_K"
    if name == "attn_output":
        return "Q5_K" if eight else {"IQ1_S": "IQ2_XXS", "IQ2_M": "IQ3_S"}.get(quantization, base)
    return base


def _grouped(facts: GgufFacts) -> bool:
    """Four query heads or more share a key head."""
    heads = facts.hyper.get(f"{facts.architecture}.attention.head_count")
    shared = facts.hyper.get(f"{facts.architecture}.attention.head_count_kv")
    return isinstance(heads, int) and isinstance(shared, int) and shared > 0 and heads // shared >= 4


def _fitting(kind: str, row: int) -> str:
    if row % GGML_TYPES[kind].block_elements == 0:
        return kind
    other = FALLBACKS.get(kind, "IQ4_NL")
    return other if row % GGML_TYPES[other].block_elements == 0 else "F16"


def file_of(facts: GgufFacts) -> Sparse:
    """A file with the header and the tensor table of the facts, its data a hole."""
    tensors = [
        (group.name if block is None else group.name.replace("{}", str(block), 1), group.shape, group.type)
        for group, block in _tensors(facts)
    ]
    keys = {name: list(value) if isinstance(value, tuple) else value for name, value in facts.hyper.items()}
    return gguf({"general.architecture": facts.architecture, **keys}, tensors, tokens=facts.vocabulary_size)
