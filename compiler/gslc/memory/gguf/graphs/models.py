"""The graphs of the architectures, block by block (src/models/*.cpp of llama.cpp)."""

from __future__ import annotations

from collections.abc import Sequence

from gslc.memory.gguf.graphs import tensor as ops
from gslc.memory.gguf.graphs.build import Builder
from gslc.memory.gguf.graphs.needed import needed
from gslc.memory.gguf.graphs.recurrent import States, mamba, mamba2
from gslc.memory.gguf.graphs.tensor import Tensor

Blocks = Sequence[int]


def transformer(build: Builder, blocks: Blocks) -> None:
    """The common decoder: norm, attention, norm, feed forward or experts."""
    quirks = QUIRKS.get(build.shape.arch, Quirks())
    build.positions = quirks.positions
    x = build.embed(scale=quirks.scaled_input)
    build.pos()
    wanted = build.outputs()
    for block in blocks:
        last = block == blocks[-1]
        x = decoder_block(build, x, block, quirks, wanted if last and not quirks.late_outputs else None)
        if build.deepstack is not None and block < build.shape.integer("n_deepstack_layers"):
            x = ops.dup("ADD", x, ops.view(build.deepstack, x.ne[:2], build.deepstack.nb[1:]))
    if quirks.late_outputs:
        x = ops.get_rows(x, wanted)
    build.head(x, capped=quirks.capped_logits, kind=quirks.norm)


class Quirks:
    """How an architecture differs from the common decoder."""

    def __init__(
        self,
        *,
        scaled_input: bool = False,
        scaled_query: bool = False,
        capped_logits: int = 0,
        norm: str = "RMS_NORM",
        gating: str = "softmax",
        normed_experts: bool = True,
        scaled_experts: bool = False,
        late_outputs: bool = False,
        parallel: bool = False,
        scaled_residual: bool = False,
        positions: int = 1,
        rope: bool = True,
        ffn_norm: str = "ffn_norm",
        fused_reshape: bool = False,
        twice: bool = False,
        windowed_rope: bool = False,
        flat_norms: bool = False,
    ) -> None:
        self.scaled_input = scaled_input
        self.scaled_query = scaled_query
        self.capped_logits = capped_logits
        self.norm = norm
        self.gating = gating
        self.normed_experts = normed_experts
        self.scaled_experts = scaled_experts
        self.late_outputs = late_outputs
        self.parallel = parallel
        self.scaled_residual = scaled_residual
        self.positions = positions
        self.rope = rope
        self.ffn_norm = ffn_norm
        self.fused_reshape = fused_reshape
        self.twice = twice
        self.windowed_rope = windowed_rope
        self.flat_norms = flat_norms


QUIRKS: dict[str, Quirks] = {
    "gemma": Quirks(scaled_input=True, scaled_query=True),
    "gemma2": Quirks(scaled_input=True, scaled_query=True, capped_logits=3),
    "gemma3": Quirks(scaled_input=True, scaled_query=True),
    "phi3": Quirks(scaled_query=True),
    "gpt-oss": Quirks(gating="softmax_weight", normed_experts=False, late_outputs=True, ffn_norm="post_attention_norm"),
    "qwen2vl": Quirks(positions=4),
    "openelm": Quirks(fused_reshape=True),
    "granite": Quirks(scaled_residual=True, scaled_input=True, capped_logits=1),
    "granitemoe": Quirks(scaled_residual=True, scaled_input=True, capped_logits=1),
    "command-r": Quirks(norm="NORM", parallel=True, capped_logits=1),
    "cohere2": Quirks(norm="NORM", parallel=True, capped_logits=1, windowed_rope=True),
    "exaone4": Quirks(windowed_rope=True),
    "minimax-m2": Quirks(gating="sigmoid", flat_norms=True),
    "phimoe": Quirks(scaled_query=True),
    "falcon": Quirks(norm="NORM", parallel=True),
    "gptneox": Quirks(norm="NORM"),
    "phi2": Quirks(norm="NORM", parallel=True, scaled_query=True),
    "stablelm": Quirks(norm="NORM"),
    "starcoder2": Quirks(norm="NORM"),
    "nemotron": Quirks(norm="NORM", twice=True),
    "olmo2": Quirks(ffn_norm="ffn_norm"),
    "qwen2moe": Quirks(normed_experts=False),
    "olmoe": Quirks(normed_experts=False),
    "qwen3vl": Quirks(positions=4),
    "qwen3vlmoe": Quirks(positions=4),
    "dots1": Quirks(gating="sigmoid", scaled_experts=True),
    "glm4": Quirks(),
    "glm4moe": Quirks(gating="sigmoid", scaled_experts=True, ffn_norm="post_attention_norm"),
    "ernie4_5-moe": Quirks(),
    "hunyuan-moe": Quirks(),
    "grok": Quirks(scaled_input=True, capped_logits=3, normed_experts=False),
    "dbrx": Quirks(norm="NORM"),
    "minicpm": Quirks(scaled_residual=True, scaled_input=True, capped_logits=1),
    "llama4": Quirks(gating="sigmoid", normed_experts=False),
}


def attention_part(build: Builder, x: Tensor, block: int, quirks: Quirks) -> Tensor:
    """Queries, keys and values with their norms and positions, through the cache."""
    shape = build.shape
    heads, kv_heads = shape.heads[block], shape.kv_heads[block]
    head, value_head = shape.key_head(block), shape.value_head(block)
    if quirks.fused_reshape:
        q, k, v = _openelm_qkv(build, x, block, heads, kv_heads, head)
    else:
        q, k, v = build.qkv(x, block, heads, kv_heads, head, value_head)
    if build.weight("attn_q_norm", block) is not None:
        q = build.norm(q, "attn_q_norm", block, kind=quirks.norm)
    turns = quirks.rope and (not quirks.windowed_rope or shape.windowed[block] or not shape.window)
    q = build.rope(q, block) if turns else q
    if build.weight("attn_k_norm", block) is not None:
        k = build.norm(k, "attn_k_norm", block, kind=quirks.norm)
    k = build.rope(k, block) if turns else k
    if quirks.scaled_query:
        q = ops.dup("SCALE", q)
    return build.attention(q, k, v, block, sinks=build.weight("attn_sinks", block))


def _openelm_qkv(build: Builder, x: Tensor, block: int, heads: int, kv_heads: int, head: int) -> tuple[Tensor, ...]:
    both = ops.reshape(build.linear(x, "attn_qkv", block), head, heads + 2 * kv_heads, build.tokens)
    steps = (both.nb[1], both.nb[2], both.nb[3])
    return tuple(ops.view(both, (head, count, build.tokens), steps) for count in (heads, kv_heads, kv_heads))


def decoder_block(build: Builder, x: Tensor, block: int, quirks: Quirks, wanted: Tensor | None) -> Tensor:
    """One block; `wanted` cuts the last one to the rows that are asked for."""
    before = x
    x = build.norm(x, "attn_norm", block, kind=quirks.norm)
    normed = x
    x = attention_part(build, x, block, quirks)
    if wanted is not None:
        x = ops.get_rows(x, wanted)
        before = ops.get_rows(before, wanted)
        normed = ops.get_rows(normed, wanted) if quirks.parallel else normed
    if quirks.parallel:
        inner = feed_forward(build, normed, block, quirks)
        return ops.dup("ADD", ops.dup("ADD", inner, before), x)
    x = _post(build, x, "post_attention_norm", block, quirks)
    if quirks.scaled_residual:
        x = ops.dup("SCALE", x)
    middle = ops.dup("ADD", x, before)
    x = build.norm(middle, quirks.ffn_norm, block, kind=quirks.norm)
    x = feed_forward(build, x, block, quirks)
    x = _post(build, x, "post_ffw_norm", block, quirks, pin=False)
    if quirks.scaled_residual:
        x = ops.dup("SCALE", x)
    return ops.dup("ADD", x, middle)


def _post(build: Builder, x: Tensor, name: str, block: int, quirks: Quirks, *, pin: bool = True) -> Tensor:
    """A norm behind a part, where the architecture has one."""
    if name == quirks.ffn_norm or build.weight(name, block) is None:
        return x
    return build.norm(x, name, block, kind=quirks.norm, pin=pin)


def feed_forward(build: Builder, x: Tensor, block: int, quirks: Quirks) -> Tensor:
    """Dense, or experts with the shared one beside them."""
    if build.weight("ffn_gate_inp", block) is None:
        return build.ffn(x, block, twice=quirks.twice)
    found = build.experts(
        x, block, gating=quirks.gating, normed=quirks.normed_experts, scaled=quirks.scaled_experts, twice=quirks.twice
    )
    if build.weight("ffn_up_shexp", block) is None:
        return found
    shared = build.ffn(x, block, "_shexp", twice=quirks.twice)
    if build.weight("ffn_gate_inp_shexp", block) is not None:
        gate = ops.dup("UNARY", build.linear(x, "ffn_gate_inp_shexp", block))
        shared = ops.dup("MUL", shared, gate)
    return ops.dup("ADD", found, shared)


def deepseek(build: Builder, blocks: Blocks) -> None:
    """Latent attention, dense blocks first, then experts with a shared one (deepseek2.cpp)."""
    shape = build.shape
    sigmoid = shape.integer("expert_gating_func") == 2
    quirks = Quirks(
        gating="sigmoid" if sigmoid else "softmax",
        normed_experts=bool(shape.key("expert_weights_norm")),
        scaled_experts=shape.key("expert_weights_scale") not in (None, 0.0, 1.0),
    )
    x = build.embed()
    build.pos()
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = latent_attention(build, build.norm(x, "attn_norm", block), block)
        if block == blocks[-1]:
            x, before = ops.get_rows(x, wanted), ops.get_rows(before, wanted)
        middle = ops.dup("ADD", x, before)
        x = feed_forward(build, build.norm(middle, "ffn_norm", block), block, quirks)
        x = ops.dup("ADD", x, middle)
    build.head(x)


def latent_attention(build: Builder, x: Tensor, block: int) -> Tensor:
    """Attention over a latent cache, or with its keys and values unpacked where the file is an old one."""
    shape, n = build.shape, build.tokens
    heads, rank, rope = (
        shape.heads[block],
        shape.integer("attention.kv_lora_rank"),
        shape.integer("rope.dimension_count"),
    )
    latent = shape.latent
    head = shape.integer("attention.key_length_mla") if latent else shape.integer("attention.key_length")
    value = shape.integer("attention.value_length_mla") if latent else shape.integer("attention.value_length")
    nope = head - rope
    if build.weight("attn_q", block) is not None:
        q = build.linear(x, "attn_q", block)
    else:
        q = build.norm(build.linear(x, "attn_q_a", block), "attn_q_a_norm", block)
        q = build.linear(q, "attn_q_b", block)
    q = ops.reshape(q, head, heads, n)
    both = build.linear(x, "attn_kv_a_mqa", block)
    compressed = ops.view(both, (rank, n), (both.nb[1], both.nb[2], both.nb[3]))
    k_pe = ops.view(both, (rope, 1, n), (both.nb[1], both.nb[1], both.nb[2]))
    k_pe = build.rope(k_pe)
    compressed = build.norm(compressed, "attn_kv_a_norm", block)
    if not latent:
        kv = build.linear(compressed, "attn_kv_b", block)
        steps = (4 * (nope + value), 4 * (nope + value) * heads, 4 * (nope + value) * heads * n)
        k_nope = ops.view(kv, (nope, heads, n), steps)
        v = ops.cont(ops.view(kv, (value, heads, n), steps))
        q = build.rope(q)
        k = ops.concat(k_nope, ops.result("REPEAT", (rope, heads, n), k_pe), 0)
        return build.attention(q, k, v, block)
    q_nope = ops.view(q, (nope, heads, n), (q.nb[1], q.nb[2], q.nb[3]))
    q_pe = build.rope(ops.view(q, (rope, heads, n), (q.nb[1], q.nb[2], q.nb[3])))
    k_b, v_b = (needed(build.weight(name, block), name) for name in ("attn_k_b", "attn_v_b"))
    absorbed = ops.permute(ops.mul_mat(k_b, ops.permute(q_nope, 0, 2, 1, 3)), 0, 2, 1, 3)
    q = ops.concat(absorbed, q_pe, 0)
    compressed = ops.reshape(compressed, rank, 1, n)
    k = ops.concat(compressed, k_pe, 0)
    build.graph.expand(q)
    build.graph.expand(compressed)
    build.graph.expand(k)
    cache, _ = build.caches(block)
    build.store_keys(k, cache, windowed=False)
    keys = build.key_view(cache, block, build.run.cells)
    values = ops.view(keys, (rank, *keys.ne[1:]), keys.nb[1:])
    x = build.attend(q, keys, values, build.mask(windowed=False), expand_values=v_b)
    return build.linear(x, "attn_output", block)


def recurrent(build: Builder, blocks: Blocks) -> None:
    """Mamba and Mamba 2 (mamba.cpp)."""
    layer = mamba2 if build.shape.arch == "mamba2" else mamba
    x = build.embed()
    states = States(build)
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = layer(build, states, build.norm(x, "attn_norm", block), block)
        if block == blocks[-1]:
            x, before = ops.get_rows(x, wanted), ops.get_rows(before, wanted)
        x = ops.dup("ADD", x, before)
    build.head(x)


def granite_hybrid(build: Builder, blocks: Blocks) -> None:
    """Mamba 2 blocks with attention blocks among them (granite-hybrid.cpp)."""
    shape = build.shape
    quirks = Quirks(rope=shape.key("rope.scaling.finetuned") is not False)
    scaled = bool(shape.key("residual_scale"))
    x = build.embed(scale=bool(shape.key("embedding_scale")))
    states = States(build)
    wanted = build.outputs()
    for block in blocks:
        before = x
        x = build.norm(x, "attn_norm", block)
        x = mamba2(build, states, x, block) if shape.recurrent[block] else attention_part(build, x, block, quirks)
        if block == blocks[-1]:
            x, before = ops.get_rows(x, wanted), ops.get_rows(before, wanted)
        x = ops.dup("SCALE", x) if scaled else x
        middle = ops.dup("ADD", x, before)
        x = feed_forward(build, build.norm(middle, "ffn_norm", block), block, quirks)
        x = ops.dup("SCALE", x) if scaled else x
        x = ops.dup("ADD", x, middle)
    build.head(x, capped=1 if shape.key("logit_scale") else 0)


def encoder(build: Builder, blocks: Blocks) -> None:
    """BERT and its kin: no cache, norms behind the parts (bert.cpp)."""
    shape = build.shape
    if shape.arch != "jina-bert-v2":
        build.pos()
    places = build.weight("position_embd") if shape.arch == "bert" else None
    rows = ops.get_rows(places, build.pos()) if places is not None else None
    if rows is not None and build.run.mixed_inputs:
        build.graph.expand(rows)
    x = build.embed()
    types = build.weight("token_types")
    if types is not None:
        row = ops.view(types, (shape.embedding,), (types.nb[1], types.nb[1], types.nb[1]))
        x = ops.dup("ADD", x, row)
    if rows is not None:
        x = ops.dup("ADD", rows, x)
    x = build.norm(x, "token_embd_norm", None, kind="NORM")
    mask = build.input("F16" if build.run.flash else "F32", build.tokens, build.tokens)
    wanted = build.outputs()
    for block in blocks:
        x = encoder_block(build, x, block, mask, wanted if block == blocks[-1] else None)
    pooling(build, build.graph.expand(x))


def encoder_block(build: Builder, x: Tensor, block: int, mask: Tensor, wanted: Tensor | None) -> Tensor:
    """One block of an encoder."""
    shape = build.shape
    before = x
    heads, head = shape.heads[block], shape.key_head(block)
    q, k, v = build.qkv(x, block, heads, shape.kv_heads[block], head, shape.value_head(block))
    for name in ("attn_q_norm", "attn_k_norm"):
        if build.weight(name, block) is None:
            continue
        part = q if name == "attn_q_norm" else k
        flat = build.norm(ops.reshape(part, part.ne[0] * part.ne[1], build.tokens), name, block, kind="NORM")
        flat = ops.reshape(flat, *part.ne)
        q, k = (flat, k) if name == "attn_q_norm" else (q, flat)
    if shape.arch in ("nomic-bert", "nomic-bert-moe", "jina-bert-v3"):
        q, k = build.rope(q), build.rope(k)
    for part in (q, k, v):
        build.graph.expand(part)
    x = build.linear(build.attend(q, k, v, mask), "attn_output", block)
    if wanted is not None:
        x, before = ops.get_rows(x, wanted), ops.get_rows(before, wanted)
    x = ops.dup("ADD", x, before)
    x = build.norm(x, "attn_output_norm", block, kind="NORM")
    if build.weight("attn_norm_2", block) is not None:
        x = build.norm(ops.dup("ADD", x, before), "attn_norm_2", block, kind="NORM")
    middle = x
    every = shape.integer("moe_every_n_layers")
    x = build.experts(x, block, normed=False) if every and block % every == 1 else build.ffn(x, block)
    x = ops.dup("ADD", x, middle)
    return build.norm(x, "layer_output_norm", block, kind="NORM")


def pooling(build: Builder, x: Tensor) -> None:
    """One vector (or score) a sequence (build_pooling): 0 none, 1 mean, 2 first, 3 last token, 4 rank."""
    if not build.run.embedding:
        return
    kind = build.shape.integer("pooling_type")
    if kind == 1:
        mean = build.input("F32", build.tokens, build.slots)
        x = ops.mul_mat(ops.cont(ops.transpose(x)), mean)
    elif kind in (2, 3, 4):
        x = ops.get_rows(x, build.input("I32", build.slots))
    if kind == 4:
        for name in ("cls", "cls.output"):
            if build.weight(name) is not None:
                x = build.linear(x, name)
                x = ops.dup("UNARY", x) if name == "cls" else x
    build.graph.expand(x)
