"""Weights per rank, from the tensor table of the files where there is one, else from config.json.

A tensor's name says how vLLM splits it; what no pattern knows is counted whole on every rank, so demand rounds up.
"""

from __future__ import annotations

import re
from math import prod
from typing import Literal, TypeAlias

from gslc.ir.facts import SafetensorsFacts, TensorGroup
from gslc.ir.record import dataclass
from gslc.memory.vllm.matrices import UNSPLIT
from gslc.memory.vllm.matrix import FLOAT32_BYTES, VOCABULARY_PADDING
from gslc.memory.vllm.shape import Shape
from gslc.memory.vllm.weights import RankWeights, rank_weights, stage_layers, value_bytes

TableSplit: TypeAlias = Literal["column", "row", "keys", "fused", "whole", "vocabulary", "experts", "skip"]
TableStage: TypeAlias = Literal["block", "first", "last", "all"]

TYPE_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F4": 4,
}  # fmt: skip
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})

# Buffers that some checkpoints carry along and vLLM leaves aside.
SKIPPED = re.compile(
    r"(rotary_emb\.inv_freq|\.attn\.(masked_)?bias|attention\.(masked_)?bias|position_ids|rotary_pos_emb)$"
)
# Held in float32 whatever the model's dtype is.
WIDENED = re.compile(r"(A_log|e_score_correction_bias)$")  # float32 on the card whatever the file holds
GROUPED = re.compile(r"\.(mixer|mamba)\.(in_proj|conv1d)\.\w+$")  # Mamba 2: rows of the single group are on every rank
KEPT_WIDE = re.compile(
    r"(A_log|e_score_correction_bias|weight_scale_inv|weight_scale|input_scale|activation_scale|_scale)$"
)
VOCABULARY = re.compile(
    r"(embed_tokens|\bwte|word_embeddings|embed_in|tok_embeddings|embeddings\.word_embeddings|backbone\.embeddings?|embed_out|lm_head)\.(weight|qweight|scales|qzeros|bias)$"
    r"|^output\.weight$|^(model\.)?embeddings\.weight$"
)
HEAD = re.compile(r"(lm_head|embed_out|^output)\.")
FUSED = re.compile(r"\.(qkv_proj|query_key_value|c_attn|Wqkv|W_pack|wqkv|qkv|in_proj_weight|in_proj_bias)\b")
KEYS = re.compile(r"\.(k_proj|v_proj|key|value)\b")
ROW = re.compile(
    r"\.(o_proj|out_proj|c_proj|wo|Wo|w2|down_proj|fc2|fc_out|dense_4h_to_h|output_linear|x_proj|linear_attn\.out_proj)\.\w+$"
    r"|\.(self_attention|attention|self_attn|output|attn|attention\.output)\.(dense|proj)\.\w+$|\.mlp\.dense\.\w+$"
)
COLUMN = re.compile(
    r"\.(q_proj|query|gate_proj|up_proj|gate_up_proj|fc1|fc_in|c_fc|dense_h_to_4h|intermediate\.dense|w1|w3|q_b_proj|kv_b_proj"
    r"|input_linear|in_proj|in_proj_qkvz|in_proj_ba|conv1d|dt_proj|wkv_b|sinks)(\.\w+)?$|\.(A_log|D|dt_bias)$|\.(mixer|mamba)\.norm\.weight$"
)
EXPERTS = re.compile(r"\.(experts|block_sparse_moe)\.")
VISION = re.compile(r"^(model\.)?(visual|vision_tower|vision_model|vit|vision_encoder|img_processor|image_)")
FIRST = re.compile(
    r"(embed_positions|wpe|position_embeddings|token_type_embeddings|word_embeddings_layernorm|project_in)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one tensor of the table is spread."""

    split: TableSplit
    stage: TableStage


def model_weights(
    facts: SafetensorsFacts,
    shape: Shape,
    tensor_parallel: int,
    pipeline_parallel: int,
    *,
    dtype: str,
    expert_parallel: bool = False,
    vision_whole: bool = False,
    partition: tuple[int, ...] | None = None,
) -> tuple[RankWeights, ...]:
    """Parameters of one rank of each pipeline stage, first stage first.

    The tensors' sizes for the allocator's rounding come from config.json either way: vLLM merges what files keep apart.
    """
    configured = rank_weights(
        shape, tensor_parallel, pipeline_parallel, dtype=dtype, expert_parallel=expert_parallel, partition=partition
    )
    if not facts.tensors:
        return configured
    width = value_bytes(shape, dtype)
    stages = stage_layers(shape.layers, pipeline_parallel, partition)
    totals = tuple(
        table_bytes(
            facts.tensors,
            shape,
            tensor_parallel,
            index,
            stages,
            width,
            expert_parallel=expert_parallel,
            vision_whole=vision_whole,
        )
        for index in range(pipeline_parallel)
    )
    return tuple(
        RankWeights(total_bytes=total, tensors=stage.tensors) for total, stage in zip(totals, configured, strict=True)
    )


def table_bytes(
    groups: tuple[TensorGroup, ...],
    shape: Shape,
    ranks: int,
    stage: int,
    stages: tuple[tuple[int, ...], ...],
    width: int,
    *,
    expert_parallel: bool = False,
    vision_whole: bool = False,
) -> int:
    """Bytes that one rank of a stage holds of these tensors."""
    held = frozenset(stages[stage])
    first, last = stage == 0, stage == len(stages) - 1
    total = 0
    for group in groups:
        rule = table_rule(group, shape)
        if rule.split == "skip":
            continue
        if vision_whole and VISION.match(group.name):
            rule = Rule(split="whole", stage=rule.stage)
        copies = _copies(group, rule, held, first=first, last=last, shape=shape)
        if copies:
            total += copies * _share(group, rule, shape, ranks, width, expert_parallel=expert_parallel)
    return total


def table_rule(group: TensorGroup, shape: Shape) -> Rule:
    """The rule that the name of a tensor falls under."""
    name = group.name
    if SKIPPED.search(name) or (shape.tied and HEAD.search(name)) or name == "proj_out.weight":
        return Rule(split="skip", stage="all")
    if VISION.match(name):
        return Rule(split=_vision_split(name), stage="all")
    if VOCABULARY.search(name) and not shape.cross_attention:
        return Rule(split="vocabulary", stage="last" if HEAD.search(name) else "first")
    stage: TableStage = "block" if group.blocks else ("first" if FIRST.search(name) else "last")
    if shape.encoder_layers and group.blocks:
        stage = "all"
    split: TableSplit = "whole" if shape.model_type in UNSPLIT else _block_split(name, group)
    return Rule(split=split, stage=stage)


def _block_split(name: str, group: TensorGroup) -> TableSplit:
    if EXPERTS.search(name) and (group.experts or len(group.shape) >= 3):
        return "experts"
    if name.endswith("g_idx"):
        return "row" if ROW.search(name) else "whole"
    bias = name.endswith("bias")
    if ROW.search(name):
        return "whole" if bias else "row"
    if FUSED.search(name):
        return "fused"
    if KEYS.search(name):
        return "keys"
    return "column" if COLUMN.search(name) else "whole"


def _vision_split(name: str) -> TableSplit:
    if ROW.search(name):
        return "whole" if name.endswith("bias") else "row"
    return "column" if FUSED.search(name) or KEYS.search(name) or COLUMN.search(name) else "whole"


def _copies(group: TensorGroup, rule: Rule, held: frozenset[int], *, first: bool, last: bool, shape: Shape) -> int:
    """How many of the group's blocks lie on the stage; layers beyond the model's own (draft heads) are not loaded."""
    if VISION.match(group.name) or (shape.encoder_layers and group.blocks):
        return max(1, len(group.blocks))
    if group.blocks:
        return len(held.intersection(group.blocks))
    if rule.split == "vocabulary" and shape.tied:
        return int(first or last)  # tied: the embedding is the head, and the last of several stages has its own copy
    return int(first if rule.stage == "first" else last)


def tensor_bytes(group: TensorGroup, shape: Shape, width: int) -> int:
    """Bytes of one tensor of the group as it lies on a card: floats in the model's dtype, packed values as they are."""
    bits = TYPE_BITS.get(group.type, 16)
    if group.type in FLOATS and not KEPT_WIDE.search(group.name):
        bits = width * 8
    if WIDENED.search(group.name) or (shape.model_type == "glm4_moe" and group.name.endswith("mlp.gate.weight")):
        bits = FLOAT32_BYTES * 8
    return -(-prod(group.shape) * bits // 8)


def _share(group: TensorGroup, rule: Rule, shape: Shape, ranks: int, width: int, *, expert_parallel: bool) -> int:
    """Bytes of one copy of a tensor on one rank."""
    values, size_bytes = prod(group.shape), tensor_bytes(group, shape, width)
    if rule.split == "vocabulary":
        rows = -(-shape.vocabulary // VOCABULARY_PADDING) * VOCABULARY_PADDING
        return -(-size_bytes * rows // max(1, group.shape[0] * ranks)) if group.shape else size_bytes
    if rule.split == "experts":
        count = group.experts or 1
        if expert_parallel:
            return -(-count // ranks) * size_bytes if group.experts else -(-size_bytes // ranks)
        if group.name.endswith("bias") and "down" in group.name:
            return count * size_bytes
        return count * -(-size_bytes // ranks)
    if rule.split == "column" and GROUPED.search(group.name):
        return _grouped_share(size_bytes, group.shape[0], shape, ranks)
    if rule.split in {"column", "row"}:
        return -(-size_bytes // ranks) if values > 1 else size_bytes
    if rule.split == "keys":
        return _keys_share(size_bytes, shape, ranks) if values > 1 else size_bytes
    if rule.split == "fused":
        keys = shape.kv_heads
        parts = shape.heads + 2 * keys
        if not parts:
            return -(-size_bytes // ranks)
        queries = size_bytes * shape.heads // parts
        return -(-queries // ranks) + _keys_share(size_bytes - queries, shape, ranks)
    return size_bytes


def _grouped_share(size_bytes: int, rows: int, shape: Shape, ranks: int) -> int:
    """A rank's share of a Mamba 2 projection: its single group is not split."""
    mixer = shape.state_space
    single = 2 * mixer.state if mixer is not None and mixer.version == 2 and mixer.groups == 1 else 0
    held = size_bytes * min(single, rows) // rows
    return -(-(size_bytes - held) // ranks) + held


def _keys_share(size_bytes: int, shape: Shape, ranks: int) -> int:
    """A rank's share of key or value projections: replicated where there are fewer heads than ranks."""
    heads = max(1, shape.kv_heads)
    return -(-size_bytes * max(1, heads // ranks) // heads) if ranks <= heads else -(-size_bytes // heads)


def disagreement(facts: SafetensorsFacts, shape: Shape) -> str | None:
    """The difference between the files and config.json in words; None where they agree to 2 %."""
    language = tuple(group for group in facts.tensors if not VISION.match(group.name))
    if not language or shape.vision is not None:
        return None
    stages = stage_layers(shape.layers, 1)
    files = table_bytes(language, shape, 1, 0, stages, 2)
    configured = rank_weights(shape, 1)[0].total_bytes
    if abs(files - configured) * 50 <= files:
        return None
    return f"the files hold {files:,} bytes of weights, config.json describes {configured:,}"
