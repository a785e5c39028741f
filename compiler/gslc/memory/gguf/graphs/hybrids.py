"""Graphs that mix attention with recurrent blocks: Qwen3-Next and 3.5, Jamba, Falcon-H1, LFM2, Nemotron-H."""

from __future__ import annotations

from collections.abc import Sequence

from gslc.memory.gguf.graphs import tensor as ops
from gslc.memory.gguf.graphs.build import Builder
from gslc.memory.gguf.graphs.models import Quirks, attention_part, feed_forward
from gslc.memory.gguf.graphs.needed import needed
from gslc.memory.gguf.graphs.recurrent import States, mamba, mamba2
from gslc.memory.gguf.graphs.tensor import Tensor

Blocks = Sequence[int]


def delta_net(build: Builder, blocks: Blocks) -> None:
    """Qwen3-Next and Qwen3.5: gated delta nets, every fourth block full attention (qwen3next.cpp, qwen35.cpp)."""
    shape = build.shape
    build.positions = 1 if shape.arch == "qwen3next" else 4
    x = build.embed()
    states = States(build)
    build.pos()
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = build.graph.expand(build.norm(x, "attn_norm", block))
        x = _delta_block(build, states, x, block) if shape.recurrent[block] else _gated_attention(build, x, block)
        middle = ops.dup("ADD", x, before)
        x = build.norm(middle, "post_attention_norm", block)
        x = feed_forward(build, x, block, Quirks())
        x = ops.dup("ADD", x, middle)
    x = build.norm(x, "output_norm", None)
    build.logits(ops.get_rows(x, wanted))


def _gated_attention(build: Builder, x: Tensor, block: int) -> Tensor:
    """Attention whose query matrix makes a gate as well."""
    shape, n = build.shape, build.tokens
    heads, kv_heads, head = shape.heads[block], shape.kv_heads[block], shape.key_head(block)
    both = ops.reshape(build.linear(x, "attn_q", block), head * 2, heads, n)
    k = build.linear(x, "attn_k", block)
    v = build.linear(x, "attn_v", block)
    steps = (both.nb[1], both.nb[2], both.nb[3])
    q, gate = (ops.view(both, (head, heads, n), steps) for _ in range(2))
    k, v = ops.reshape(k, head, kv_heads, n), ops.reshape(v, head, kv_heads, n)
    q = build.rope(build.norm(q, "attn_q_norm", block))
    k = build.rope(build.norm(k, "attn_k_norm", block))
    x = build.attention(q, k, v, block, out="")
    gate = ops.dup("UNARY", ops.cont(gate, head * heads, n))
    return build.linear(ops.dup("MUL", x, gate), "attn_output", block)


def _delta_block(build: Builder, states: States, x: Tensor, block: int) -> Tensor:
    """A gated delta net with its short convolution; the fused operator is used (delta-net-base.cpp)."""
    shape, slots = build.shape, build.slots
    inner, key, groups, heads = (
        shape.integer("ssm." + k) for k in ("inner_size", "state_size", "group_count", "time_step_rank")
    )
    value, per = inner // heads, build.tokens // slots
    mixed = build.linear(x, "attn_qkv", block)
    mixed = ops.reshape(mixed, mixed.ne[0], per, slots)
    z = build.linear(x, "attn_gate", block)
    beta, gate = _gates(build, x, block, heads, groups, per)
    kernel = needed(build.weight("ssm_conv1d", block), "ssm_conv1d")
    channels = inner + 2 * groups * key
    conv = ops.reshape(states.read(block, "r"), kernel.ne[0] - 1, channels, slots)
    wide = ops.concat(conv, ops.transpose(mixed), 0)
    states.write(block, "r", ops.view(wide, (kernel.ne[0] - 1, channels, slots), (wide.nb[1], wide.nb[2], wide.nb[3])))
    state = ops.reshape(states.read(block, "s"), value, value, heads, slots)
    out = ops.dup("UNARY", ops.result("SSM_CONV", (channels, per, slots), wide, kernel))
    q, k = (
        ops.dup("SCALE", ops.result("RMS_NORM", part.ne, part))
        for part in (_part(out, key, groups, per, slots) for _ in range(2))
    )
    v = _part(out, value, heads, per, slots)
    if groups != heads:
        q, k = (_repeated(part, heads // groups, groups, per, slots) for part in (q, k))
    result = ops.result("GATED_DELTA_NET", (value * heads, per * slots + value * slots), q, k, v, gate, beta, state)
    states.write(block, "s", ops.view(result, (value * value * heads * slots,), (4, 4, 4)))
    y = ops.view(result, (value, heads, per, slots), (4 * value, 4 * value * heads, 4 * value * heads * per))
    y = build.norm(y, "ssm_norm", block)
    y = ops.dup("MUL", y, ops.dup("UNARY", ops.reshape(z, value, heads, per, slots)))
    y = build.linear(ops.reshape(y, value * heads, per, slots), "ssm_out", block)
    return ops.reshape(y, shape.embedding, build.tokens)


def _part(out: Tensor, width: int, count: int, per: int, slots: int) -> Tensor:
    return ops.view(out, (width, count, per, slots), (4 * width, out.nb[1], out.nb[1] * per))


def _repeated(x: Tensor, times: int, groups: int, per: int, slots: int) -> Tensor:
    wide = ops.result("REPEAT", (x.ne[0], times, groups, per * slots), ops.reshape(x, x.ne[0], 1, groups, per * slots))
    return ops.reshape(wide, x.ne[0], groups * times, per, slots)


def _gates(build: Builder, x: Tensor, block: int, heads: int, groups: int, per: int) -> tuple[Tensor, Tensor]:
    """The decay and the writing strength, from one matrix (Qwen3-Next) or two (Qwen3.5)."""
    slots = build.slots
    if build.weight("ssm_ba", block) is not None:
        both = build.linear(x, "ssm_ba", block)
        both = ops.reshape(both, 2 * heads // groups, groups, per, slots)
        b, a = (
            ops.view(both, (heads // groups, groups, per, slots), (both.nb[1], both.nb[2], both.nb[3]))
            for _ in range(2)
        )
        beta = ops.dup("UNARY", ops.cont(b))
        alpha = ops.cont(a, heads, per, slots)
    else:
        beta = ops.dup("UNARY", ops.reshape(build.linear(x, "ssm_beta", block), 1, heads, per, slots))
        alpha = ops.reshape(build.linear(x, "ssm_alpha", block), heads, per, slots)
    bias, decay = (
        needed(build.weight("ssm_dt", block, "bias"), "ssm_dt"),
        needed(build.weight("ssm_a", block, ""), "ssm_a"),
    )
    alpha = ops.dup("UNARY", ops.dup("ADD", alpha, bias))
    gate = ops.dup("MUL", alpha, decay)
    return ops.reshape(beta, 1, heads, per, slots), ops.reshape(gate, 1, heads, per, slots)


def jamba(build: Builder, blocks: Blocks) -> None:
    """Mamba blocks with attention blocks among them, experts in some (jamba.cpp)."""
    quirks = Quirks(rope=False, normed_experts=False)
    x = build.embed()
    states = States(build)
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = build.norm(x, "attn_norm", block)
        x = mamba(build, states, x, block) if build.shape.recurrent[block] else attention_part(build, x, block, quirks)
        if block == blocks[-1]:
            x, before = ops.get_rows(x, wanted), ops.get_rows(before, wanted)
        middle = ops.dup("ADD", before, x)
        x = feed_forward(build, build.norm(middle, "ffn_norm", block), block, quirks)
        x = ops.dup("ADD", middle, x)
    build.head(x)


def falcon_h1(build: Builder, blocks: Blocks) -> None:
    """Attention and Mamba 2 side by side in every block (falcon-h1.cpp)."""
    x = build.embed()
    build.pos()
    states = States(build)
    wanted = build.outputs()
    for block in blocks:
        before = x
        attended = attention_part(build, build.norm(x, "attn_norm", block), block, Quirks())
        scanned = mamba2(build, states, build.norm(x, "attn_norm", block), block)
        middle = ops.dup("ADD", ops.dup("ADD", attended, scanned), before)
        if block == blocks[-1]:
            middle = ops.get_rows(middle, wanted)
        x = build.ffn(build.norm(middle, "ffn_norm", block), block)
        x = ops.dup("ADD", x, middle)
    build.head(x)


def lfm2(build: Builder, blocks: Blocks) -> None:
    """Short convolutions with attention blocks among them (lfm2.cpp)."""
    shape = build.shape
    sigmoid = shape.integer("expert_gating_func") == 2
    quirks = Quirks(gating="sigmoid" if sigmoid else "softmax", normed_experts=True)
    x = build.embed()
    states = States(build)
    build.pos()
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = build.norm(x, "attn_norm", block)
        x = _short_conv(build, states, x, block) if shape.recurrent[block] else attention_part(build, x, block, quirks)
        if block == blocks[-1]:
            x, before = ops.get_rows(x, wanted), ops.get_rows(before, wanted)
        middle = ops.dup("ADD", before, x)
        x = feed_forward(build, build.norm(middle, "ffn_norm", block), block, quirks)
        x = ops.dup("ADD", middle, x)
    build.head(x, norm="output_norm" if build.weight("output_norm") is not None else "token_embd_norm")


def _short_conv(build: Builder, states: States, x: Tensor, block: int) -> Tensor:
    slots, width = build.slots, build.shape.embedding
    per = build.tokens // slots
    kernel = needed(build.weight("shortconv.conv", block), "shortconv.conv")
    x = ops.reshape(x, width, per, slots)
    both = build.linear(x, "shortconv.in_proj", block)
    b, c, inner = (ops.view(both, (width, per, slots), (both.nb[1], both.nb[2], both.nb[3])) for _ in range(3))
    mixed = ops.transpose(ops.result("MUL", b.ne, b, inner))
    conv = ops.reshape(states.read(block, "r"), kernel.ne[0] - 1, width, slots)
    wide = ops.concat(conv, mixed, 0)
    states.write(block, "r", ops.view(wide, (kernel.ne[0] - 1, width, slots), (wide.nb[1], wide.nb[2], wide.nb[3])))
    out = ops.result("SSM_CONV", (width, per, slots), wide, kernel)
    y = build.linear(ops.result("MUL", c.ne, c, out), "shortconv.out_proj", block)
    return ops.reshape(y, y.ne[0], build.tokens)


def nemotron_h(build: Builder, blocks: Blocks) -> None:
    """Blocks that are a Mamba 2, an attention or a feed forward each (nemotron-h.cpp)."""
    shape = build.shape
    widths = shape.listed("feed_forward_length")
    quirks = Quirks(rope=False, gating="sigmoid", normed_experts=bool(shape.key("expert_weights_norm")), twice=True)
    x = build.embed()
    states = States(build)
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = build.norm(x, "attn_norm", block)
        if shape.recurrent[block]:
            x = mamba2(build, states, x, block)
        elif widths[block] == 0:
            x = attention_part(build, x, block, quirks)
        else:
            x = feed_forward(build, x, block, quirks)
        x = ops.dup("ADD", x, before)
    x = build.norm(x, "output_norm", None)
    build.logits(ops.get_rows(x, wanted))
