"""The graph of Gemma 3n: several streams of the residual, low-rank side paths, inputs of their own for every block."""

from __future__ import annotations

from collections.abc import Sequence

from gslc.memory.gguf.graphs import tensor as ops
from gslc.memory.gguf.graphs.build import Builder
from gslc.memory.gguf.graphs.needed import needed
from gslc.memory.gguf.graphs.tensor import Tensor

SPARSE_BLOCKS = 10  # gemma3n.cpp, n_layer_sparsity


def gemma3n(build: Builder, blocks: Sequence[int]) -> None:
    """All of gemma3n.cpp."""
    shape, n = build.shape, build.tokens
    width = shape.embedding
    streams = shape.integer("altup.num_inputs", 4)
    small = shape.integer("embedding_length_per_layer_input", 256)
    x = build.embed(scale=True)
    build.pos()
    inputs = build.graph.expand(_own_inputs(build, small))
    inputs = _projected(build, x, inputs, small)
    wide = ops.result("REPEAT", (width, n, streams - 1), x)
    added = _same_magnitude(ops.mul_mat(_weight(build, "altup_proj"), wide), _magnitude(x))
    x = ops.concat(x, added, 2)
    for block in blocks:
        x = _block(build, x, block, inputs, streams, small)
    target = _magnitude(_slice(x))
    rest = ops.view(x, (width, n, streams - 1), (x.nb[1], x.nb[2], x.nb[3]))
    back = _same_magnitude(ops.mul_mat(_weight(build, "altup_unembd_proj"), rest), target)
    total = _slice(x)
    for _ in range(streams - 1):
        part = _slice(back)
        total = ops.result("ADD", total.ne, total, part)
    total = ops.dup("SCALE", total)
    build.head(ops.get_rows(total, build.outputs()), capped=3)


def _weight(build: Builder, name: str, block: int | None = None) -> Tensor:
    found = build.weight(name, block)
    return needed(found, name)


def _slice(x: Tensor) -> Tensor:
    return ops.view(x, (x.ne[0], x.ne[1]), (x.nb[1], x.nb[2], x.nb[3]))


def _magnitude(x: Tensor) -> Tensor:
    squared = ops.dup("SQR", x) if x.contiguous() else ops.result("SQR", x.ne, x)
    return ops.dup("SQRT", ops.sum_rows(squared))


def _same_magnitude(x: Tensor, target: Tensor) -> Tensor:
    return ops.dup("DIV", ops.dup("MUL", x, target), _magnitude(x))


def _own_inputs(build: Builder, small: int) -> Tensor:
    """Rows of the table of per-block embeddings; on the CPU like the table."""
    rows = ops.get_rows(_weight(build, "per_layer_token_embd"), build.input("I32", build.tokens))
    return ops.dup("SCALE", ops.reshape(rows, small, build.shape.trunk, build.tokens))


def _projected(build: Builder, x: Tensor, inputs: Tensor, small: int) -> Tensor:
    made = ops.dup("SCALE", ops.mul_mat(_weight(build, "per_layer_model_proj"), x))
    made = build.norm(ops.reshape(made, small, build.shape.trunk, build.tokens), "per_layer_proj_norm", None)
    both = ops.dup("SCALE", ops.dup("ADD", made, inputs))
    return ops.cont(ops.permute(both, 0, 2, 1, 3))


def _modalities(build: Builder, x: Tensor, block: int) -> Tensor:
    routed = ops.dup("SCALE", build.norm(x, "altup_router_norm", block))
    return ops.dup("UNARY", ops.mul_mat(_weight(build, "altup_router", block), routed))


def _predicted(build: Builder, x: Tensor, block: int, streams: int) -> Tensor:
    mix = build.linear(_modalities(build, _slice(x), block), "altup_predict_coef", block)
    mix = ops.reshape(mix, streams, streams, build.tokens)
    turned = ops.cont(ops.permute(x, 1, 2, 0, 3))
    found = ops.cont(ops.permute(ops.mul_mat(turned, mix), 0, 2, 1, 3))
    return ops.result("ADD", x.ne, ops.reshape(found, *x.ne), x)


def _corrected(build: Builder, predicted: Tensor, active: Tensor, block: int, streams: int) -> Tensor:
    modalities = _modalities(build, active, block)
    change = ops.dup("SUB", active, _slice(predicted))
    mix = ops.dup("SCALE", build.linear(modalities, "altup_correct_coef", block))
    mix = ops.cont(ops.transpose(mix), 1, build.tokens, streams)
    wide = ops.result("REPEAT", (active.ne[0], build.tokens, streams), change)
    return ops.dup("ADD", ops.dup("MUL", wide, mix), predicted)


def _attention(build: Builder, x: Tensor, block: int) -> Tensor:
    shape, n = build.shape, build.tokens
    heads, kv_heads, head = shape.heads[block], shape.kv_heads[block], shape.key_head(block)
    if shape.attends[block]:
        q, k, v = build.qkv(x, block, heads, kv_heads, head, head)
        q = build.rope(build.norm(q, "attn_q_norm", block))
        k = build.rope(build.norm(k, "attn_k_norm", block))
        v = ops.result("RMS_NORM", v.ne, v) if not v.contiguous() else ops.dup("RMS_NORM", v)
        return build.attention(q, k, v, block)
    q = ops.reshape(build.linear(x, "attn_q", block), head, heads, n)
    q = build.rope(build.norm(q, "attn_q_norm", block))
    source = shape.cached_blocks - (2 if shape.windowed[block] else 1)
    return build.attention(q, None, None, block, source=source)


def _sparse(gate: Tensor) -> Tensor:
    """The largest part of each row (gaussian_topk)."""
    mean = ops.result("MEAN", (1, *gate.ne[1:]), gate)
    spread = ops.sum_rows(ops.dup("SQR", ops.dup("SUB", gate, mean)))
    spread = ops.dup("SCALE", ops.dup("SQRT", ops.dup("SCALE", spread)))
    return ops.dup("UNARY", ops.dup("SUB", gate, ops.dup("ADD", mean, spread)))


def _block(build: Builder, x: Tensor, block: int, inputs: Tensor, streams: int, small: int) -> Tensor:
    n, width = build.tokens, build.shape.embedding
    predicted = _predicted(build, x, block, streams)
    active = _slice(predicted)
    normed = build.norm(active, "attn_norm", block)
    side = build.linear(build.linear(normed, "laurel_l", block), "laurel_r", block)
    side = ops.dup("ADD", build.norm(side, "laurel_post_norm", block), normed)
    attended = build.norm(_attention(build, normed, block), "post_attention_norm", block)
    joined = ops.dup("SCALE", ops.dup("ADD", ops.dup("ADD", attended, active), side))
    inner = build.norm(joined, "ffn_norm", block)
    up = build.linear(inner, "ffn_up", block)
    gate = build.linear(inner, "ffn_gate", block)
    gate = ops.dup("UNARY", _sparse(gate) if block < SPARSE_BLOCKS else gate)
    inner = build.linear(ops.dup("MUL", up, gate), "ffn_down", block)
    inner = ops.dup("ADD", build.norm(inner, "post_ffw_norm", block, pin=False), joined)
    corrected = _corrected(build, predicted, inner, block, streams)
    first = _slice(corrected)
    first = ops.result("MUL", first.ne, first, _weight(build, "altup_correct_scale", block))
    first = ops.dup("UNARY", build.linear(first, "inp_gate", block))
    own = ops.view(inputs, (small, n), (inputs.nb[1], inputs.nb[2], inputs.nb[3]))
    first = build.linear(ops.dup("MUL", first, own), "proj", block)
    first = build.norm(first, "post_norm", block)
    rest = ops.view(corrected, (width, n, streams - 1), (corrected.nb[1], corrected.nb[2], corrected.nb[3]))
    return ops.concat(_slice(corrected), ops.result("ADD", rest.ne, rest, first), 2)
