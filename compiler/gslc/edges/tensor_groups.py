"""A tensor table, made short: tensors that differ in their block or expert number alone become one group."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from gslc.ir.facts import TensorGroup

NUMBER_MAX = 65_536

# Words in front of a block number, as published files spell them: llama.cpp ("blk"), transformers ("layers", "h",
# "layer", "blocks", "resblocks"), diffusion files ("double_blocks", "single_blocks", "joint_blocks", …).
_BLOCK = re.compile(
    r"(?:\A|(?<=\.))(blk|layers|layer|blocks|block|h|resblocks|transformer_blocks|single_transformer_blocks"
    r"|double_blocks|single_blocks|joint_blocks|input_blocks|output_blocks|encoder_layers|decoder_layers)"
    r"\.(0|[1-9]\d{0,4})(?=\.)"
)
# An expert's number: transformers "experts.7.", early Mixtral GGUF files "ffn_up.7.weight".
_EXPERT = re.compile(r"(?<=\.)(experts|ffn_up|ffn_gate|ffn_down)\.(0|[1-9]\d{0,4})(?=\.)")


class RawTensor(NamedTuple):
    """One entry of a file's table."""

    name: str
    type: str
    shape: tuple[int, ...]


class _Pattern(NamedTuple):
    """A name with its numbers taken out; None for a number it hasn't."""

    name: str
    block: int | None
    expert: int | None


def split_name(name: str) -> _Pattern:
    """The name's pattern with its block and expert number; a name with braces of its own is left alone."""
    if "{" in name or "}" in name:
        return _Pattern(name, None, None)
    block = _BLOCK.search(name)
    if block is None:
        return _Pattern(name, None, None)
    start, end = block.span(2)
    head, tail = name[:start] + "{}", name[end:]
    expert = _EXPERT.search(tail)
    if expert is None:
        return _Pattern(head + tail, int(block.group(2)), None)
    start, end = expert.span(2)
    return _Pattern(head + tail[:start] + "{}" + tail[end:], int(block.group(2)), int(expert.group(2)))


def group_tensors(tensors: Iterable[RawTensor]) -> tuple[TensorGroup, ...]:
    """The whole table as groups, sorted; every tensor can be told from them again."""
    found: dict[tuple[str, str, tuple[int, ...]], dict[int, set[int]]] = {}
    groups: list[TensorGroup] = []
    for name, type_name, shape in tensors:
        pattern, block, expert = split_name(name)
        if block is None:
            groups.append(TensorGroup(name=name, type=type_name, shape=shape))
            continue
        experts = found.setdefault((pattern, type_name, shape), {}).setdefault(block, set())
        if expert is not None:
            experts.add(expert)
    for (pattern, type_name, shape), blocks in found.items():
        groups.extend(_groups_of(pattern, type_name, shape, blocks))
    return tuple(sorted(groups, key=lambda group: (group.name, group.type, group.shape, group.blocks)))


def _groups_of(
    pattern: str, type_name: str, shape: tuple[int, ...], blocks: dict[int, set[int]]
) -> Iterable[TensorGroup]:
    """One group for all blocks that hold experts 0…n-1 for the same n; single experts keep their number in the name."""
    whole: dict[int, list[int]] = {}
    single: dict[int, list[int]] = {}
    for block, experts in blocks.items():
        if experts == set(range(len(experts))):
            whole.setdefault(len(experts), []).append(block)
        else:
            for expert in experts:
                single.setdefault(expert, []).append(block)
    for count, numbers in whole.items():
        yield TensorGroup(name=pattern, type=type_name, shape=shape, blocks=tuple(sorted(numbers)), experts=count)
    for expert, numbers in single.items():
        first, _, rest = pattern.partition("{}")
        name = first + "{}" + rest.replace("{}", str(expert))
        yield TensorGroup(name=name, type=type_name, shape=shape, blocks=tuple(sorted(numbers)))


def expand(groups: Iterable[TensorGroup]) -> Iterable[RawTensor]:
    """Every tensor that the groups stand for."""
    for group in groups:
        for block in group.blocks or (None,):
            for expert in range(group.experts) if group.experts else (None,):
                name = group.name
                if block is not None:
                    name = name.replace("{}", str(block), 1)
                if expert is not None:
                    name = name.replace("{}", str(expert), 1)
                yield RawTensor(name, group.type, group.shape)
