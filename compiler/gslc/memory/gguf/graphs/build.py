"""The parts of llama.cpp's graphs (src/llama-graph.cpp): inputs, norms, attention, feed forward, experts."""

from __future__ import annotations

from collections.abc import Callable

from gslc.ir.facts import TensorGroup
from gslc.memory.gguf.graphs import tensor as ops
from gslc.memory.gguf.graphs.needed import needed
from gslc.memory.gguf.graphs.schedule import Graph
from gslc.memory.gguf.graphs.tensor import Tensor
from gslc.memory.gguf.runtime import Runtime
from gslc.memory.gguf.shape import ModelShape
from gslc.memory.gguf.types import is_quantized

Home = Callable[[str, int | None], int]


class Builder:
    """One graph in the making.

    home: the backend of a tensor by its full name and block. layer_home: the backend of a block. full: everything is
    offloaded, so that the engine forces norms to the device of their block. unpacks_cache: a CUDA device.
    """

    def __init__(
        self,
        shape: ModelShape,
        run: Runtime,
        home: Home,
        layer_home: Callable[[int], int],
        *,
        cpu: int,
        full: bool,
        unpacks_cache: bool = False,
    ) -> None:
        self.shape = shape
        self.run = run
        self.graph = Graph()
        self._home = home
        self._layer_home = layer_home
        self._cpu = cpu
        self._full = full
        self._unpacks_cache = unpacks_cache
        self.tokens = run.tokens
        self.slots = run.slots
        self.streams = run.streams
        self._weights: dict[tuple[str, int | None], Tensor | None] = {}
        self.positions = 1
        self._pos: Tensor | None = None
        self.deepstack: Tensor | None = None  # the embeddings with what images add to the first blocks beside them
        self.masks: dict[bool, Tensor] = {}
        self.indices: dict[tuple[bool, str], Tensor] = {}
        self.rotations: dict[tuple[bool, str], Tensor | None] = {}

    # ------------------------------------------------------------ leaves

    def weight(self, name: str, block: int | None = None, suffix: str = "weight") -> Tensor | None:
        """A weight of the file, None where it has none."""
        full = f"{name}.{suffix}" if suffix else name
        key = (full, block)
        if key not in self._weights:
            group = self.shape.named(full, block)
            self._weights[key] = None if group is None else self._leaf(full, block, group)
        return self._weights[key]

    def _leaf(self, full: str, block: int | None, group: TensorGroup) -> Tensor:
        home = self._home(full if block is None else f"blk.{block}.{full}", block)
        return Tensor("NONE", group.type.upper(), ops.shape4(group.shape), home=home, weight=True)

    def input(self, kind: str, *lengths: int) -> Tensor:
        """A tensor that the engine fills before each run."""
        return Tensor("NONE", kind, ops.shape4(lengths), is_input=True)

    def cache(self, kind: str, lengths: tuple[int, ...], block: int) -> Tensor:
        """A cache tensor, on the block's device or in host memory."""
        home = self._layer_home(block) if self.run.kv_offload else self._cpu
        return Tensor("NONE", kind, ops.shape4(lengths), home=home)

    def pos(self) -> Tensor:
        """The positions of the tokens."""
        if self._pos is None:
            self._pos = self.input("I32", self.tokens * self.positions)
        return self._pos

    def embed(self, scale: bool = False) -> Tensor:
        """Token embeddings; the unused input for raw embeddings is allocated too (PR 18550)."""
        table = needed(self.weight("token_embd"), "token_embd")
        ids = self.input("I32", self.tokens)
        wide = self.shape.embedding * (1 + self.shape.integer("n_deepstack_layers"))
        raw = self.input("F32", wide, self.tokens)
        found = ops.get_rows(table, ids)
        if wide != self.shape.embedding:
            found = ops.result("PAD", (wide, self.tokens), found)
        found = self.graph.expand(found)
        self.graph.expand(raw)
        if self.run.mixed_inputs:
            self._mixed_inputs(table)
        if wide != self.shape.embedding:
            self.deepstack = found
            return ops.view(found, (self.shape.embedding, self.tokens), found.nb[1:])
        if scale:
            found = ops.dup("SCALE", found)
        return self.graph.expand(found)

    def _mixed_inputs(self, table: Tensor) -> None:
        """The path of batches that mix tokens and raw embeddings; it is allocated although it is not used."""
        raw = self.input("F32", self.shape.embedding, self.tokens)
        known = ops.get_rows(table, self.input("I32", self.tokens))
        slots = self.input("I64", self.tokens)
        self.graph.expand(ops.store(ops.dup("DUP", raw), known, slots, op="SET_ROWS"))

    def outputs(self) -> Tensor:
        """Which tokens' results are wanted."""
        return self.input("I32", self.run.rows)

    # ------------------------------------------------------------ small parts

    def pin(self, node: Tensor, block: int | None) -> Tensor:
        """Keeps the norm of a block on its device where everything is offloaded (llama_context::graph_get_cb)."""
        if self._full and block is not None:
            node.backend = self._layer_home(block)
        return node

    def norm(
        self, x: Tensor, name: str, block: int | None = None, *, kind: str = "RMS_NORM", pin: bool = True
    ) -> Tensor:
        """A norm with its weight and bias, where the file has them."""
        # falcon-h1 names some norms without ".weight"
        w, b = self.weight(name, block) or self.weight(name, block, ""), self.weight(name, block, "bias")
        x = ops.dup(kind, x) if x.contiguous() else ops.result(kind, x.ne, x)
        if w is not None or b is not None:
            self.pin(x, block if pin else None)
        if w is not None:
            x = ops.dup("MUL", x, w)
        return ops.dup("ADD", x, b) if b is not None else x

    def linear(self, x: Tensor, name: str, block: int | None = None, *, bias: bool = True) -> Tensor:
        """A matrix with its bias and scale, where the file has them."""
        x = ops.mul_mat(needed(self.weight(name, block), name), x)
        scale = self.weight(name, block, "scale")
        if scale is not None:
            x = ops.dup("MUL", x, scale)
        b = self.weight(name, block, "bias") if bias else None
        return ops.dup("ADD", x, b) if b is not None else x

    def rope(self, x: Tensor, block: int | None = None) -> Tensor:
        """Rotary positions, with the file's factors where it has them."""
        factors = None
        for name in ("rope_freqs", "rope_factors_long"):
            group = self.shape.by_name.get(f"{name}.weight")
            if group is not None and block is not None:
                key = (f"{name}@{self._layer_home(block)}", None)
                if key not in self._weights:
                    self._weights[key] = Tensor(
                        "NONE", "F32", ops.shape4(group.shape), home=self._layer_home(block), weight=True
                    )
                factors = self._weights[key]
        src = (x, self.pos()) if factors is None else (x, self.pos(), factors)
        return Tensor("ROPE", x.kind, x.ne, src)

    # ------------------------------------------------------------ attention

    def qkv(self, x: Tensor, block: int, heads: int, kv_heads: int, head: int, value_head: int) -> tuple[Tensor, ...]:
        """Queries, keys and values, from one fused matrix or three (build_qkv)."""
        n = self.tokens
        if self.weight("attn_qkv", block) is not None:
            both = self.linear(x, "attn_qkv", block)
            steps = (head * 4, both.nb[1], both.nb[1] * n)
            wide = (value_head * 4, both.nb[1], both.nb[1] * n)
            return (
                ops.view(both, (head, heads, n), steps),
                ops.view(both, (head, kv_heads, n), steps),
                ops.view(both, (value_head, kv_heads, n), wide),
            )
        q, k, v = (self.linear(x, f"attn_{part}", block) for part in "qkv")
        return (
            ops.reshape(q, head, heads, n),
            ops.reshape(k, head, kv_heads, n),
            ops.reshape(v, value_head, kv_heads, n),
        )

    def mask(self, windowed: bool) -> Tensor:
        """The attention mask over a cache."""
        if windowed not in self.masks:
            cells = self.run.window_cells if windowed else self.run.cells
            kind = "F16" if self.run.flash else "F32"
            self.masks[windowed] = self.input(kind, cells, self.tokens // self.streams, 1, self.streams)
        return self.masks[windowed]

    def index(self, windowed: bool, part: str) -> Tensor:
        """Where keys or values are stored; single elements for transposed values."""
        key = (windowed, part)
        if key not in self.indices:
            count = self.tokens
            if part == "v" and not self.run.flash:
                count *= max((self.shape.value_width(i) for i in range(self.shape.blocks)), default=1)
            self.indices[key] = self.input("I64", count)
        return self.indices[key]

    def rotation(self, windowed: bool, part: str) -> Tensor | None:
        """The Hadamard matrix that spreads outliers over a quantised cache, None where it is not used."""
        key = (windowed, part)
        if key not in self.rotations:
            kind = self.run.key_type if part == "k" else self.run.value_type
            blocks = [
                b for b in range(self.shape.blocks) if self.shape.attends[b] and self.shape.windowed[b] == windowed
            ]
            heads = {(self.shape.key_head if part == "k" else self.shape.value_head)(b) for b in blocks}
            width = next(iter(heads)) if len(heads) == 1 else 0
            found = None
            if is_quantized(kind) and width and width % 64 == 0:
                size = 64
                while part == "k" and width % (size * 2) == 0:
                    size *= 2
                found = self.input("F32", size, size)
            self.rotations[key] = found
        return self.rotations[key]

    def hadamard(self, x: Tensor, rotation: Tensor) -> Tensor:
        """X rotated row by row."""
        size = rotation.ne[0]
        if not x.contiguous():
            x = ops.cont(x)
        flat = ops.reshape(x, size, x.elements // size)
        return ops.reshape(ops.mul_mat(rotation, flat), *x.ne)

    def attention(
        self,
        q: Tensor,
        k: Tensor | None,
        v: Tensor | None,
        block: int,
        *,
        out: str = "attn_output",
        sinks: Tensor | None = None,
        source: int | None = None,
    ) -> Tensor:
        """Attention through the cache of a block (build_attn); k and v None: the cache of block `source` is read."""
        shape, run = self.shape, self.run
        windowed = shape.windowed[block]
        rk, rv = self.rotation(windowed, "k"), self.rotation(windowed, "v")
        if rk is not None:
            q = self.hadamard(q, rk)
            k = self.hadamard(k, rk) if k is not None else None
        if rv is not None and v is not None:
            v = self.hadamard(v, rv)
        self.graph.expand(q)
        # plain caches expand V before K, windowed ones K before V
        for part in (k, v) if shape.window else (v, k):
            if part is not None:
                self.graph.expand(part)
        keeper = block if source is None else source
        key_cache, value_cache = self.caches(keeper)
        if k is not None:
            self.store_keys(k, key_cache, windowed)
        if v is not None:
            self._store_values(v, value_cache, keeper, windowed)
        cells = run.window_cells if windowed else run.cells
        keys = self.key_view(key_cache, keeper, cells)
        values = self._value_view(value_cache, keeper, cells)
        x = self.attend(q, keys, values, self.mask(windowed), sinks, transposed=not run.flash)
        if rv is not None:
            x = self.hadamard(x, rv)
        return self.linear(x, out, block) if out else x

    def caches(self, block: int) -> tuple[Tensor, Tensor]:
        """The cache tensors of a block, made once."""
        key = ("cache", block)
        if key not in self._weights:
            cells = self.run.window_cells if self.shape.windowed[block] else self.run.cells
            width = self.shape.value_width(block)
            if not self.run.flash:
                width = max(self.shape.value_width(i) for i in range(self.shape.blocks))
            self._weights[key] = self.cache(
                self.run.key_type, (self.shape.key_width(block), cells, self.streams), block
            )
            self._weights[("cache_v", block)] = self.cache(self.run.value_type, (width, cells, self.streams), block)
        return needed(self._weights[key], "cache_k"), needed(self._weights[("cache_v", block)], "cache_v")

    def store_keys(self, k: Tensor, cache: Tensor, windowed: bool) -> None:
        """Writes the ubatch's keys into the cache."""
        rows = ops.view(k, (k.ne[0] * k.ne[1], k.ne[2]), (k.nb[2], k.nb[2] * k.ne[2]))
        target = ops.reshape(cache, cache.ne[0], cache.ne[1] * cache.ne[2]) if self.streams > 1 else cache
        self.graph.expand(ops.store(target, rows, self.index(windowed, "k"), op="SET_ROWS"))

    def _store_values(self, v: Tensor, cache: Tensor, block: int, windowed: bool) -> None:
        width, n = v.ne[0] * v.ne[1], v.ne[2]
        if self.run.flash:
            rows = ops.view(v, (width, n), (v.nb[2], v.nb[2] * n))
            target = ops.reshape(cache, cache.ne[0], cache.ne[1] * cache.ne[2]) if self.streams > 1 else cache
        else:
            rows = ops.reshape(v, width, n) if v.nb[2] == 4 * width else ops.cont(v, width, n)
            if width < cache.ne[0]:
                rows = ops.result("PAD", (cache.ne[0], n), rows)
            target = ops.reshape(cache, 1, cache.elements)
            rows = ops.reshape(rows, 1, rows.elements)
        self.graph.expand(ops.store(target, rows, self.index(windowed, "v"), op="SET_ROWS"))

    def key_view(self, cache: Tensor, block: int, cells: int) -> Tensor:
        """The cached keys as (head, KV heads, cells, streams)."""
        head, heads = self.shape.key_head(block), self.shape.kv_heads[block]
        row = cache.nb[1]
        step = row // heads if heads else row
        return ops.view(cache, (head, heads, cells, self.streams), (step, row, row * cells))

    def _value_view(self, cache: Tensor, block: int, cells: int) -> Tensor:
        head, heads = self.shape.value_head(block), self.shape.kv_heads[block]
        if self.run.flash:
            row = cache.nb[1]
            return ops.view(
                cache, (head, heads, cells, self.streams), (row // heads if heads else row, row, row * cells)
            )
        column = cache.nb[1] // cache.ne[0] * cells
        return ops.view(cache, (cells, heads, head, self.streams), (column * head, column, column * cache.ne[0]))

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor,
        sinks: Tensor | None = None,
        *,
        transposed: bool = False,
        expand_values: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Scores, softmax and weighted values (build_attn_mha). expand_values: the matrix of latent attention."""
        streams = k.ne[3]
        per_stream = q.ne[2] // streams
        q = ops.view(q, (q.ne[0], q.ne[1], per_stream, streams), (q.nb[1], q.nb[2], q.nb[2] * per_stream))
        q, k, v = (ops.permute(part, 0, 2, 1, 3) for part in (q, k, v))
        if self.run.flash and bias is None:
            k, v = (ops.result("CPY", t.ne, t, kind="F16") if t.kind == "F32" else t for t in (k, v))
            if transposed:
                v = ops.transpose(v)
            src = (q, k, v, mask) if sinks is None else (q, k, v, mask, sinks)
            x = Tensor("FLASH_ATTN_EXT", "F32", ops.shape4((v.ne[0], q.ne[2], q.ne[1], q.ne[3])), src)
            if self._unpacks_cache:
                x.size += _unpacked(k) + (0 if v.root is k.root else _unpacked(v))
            if expand_values is not None:
                x = ops.permute(x, 0, 2, 1, 3)
                x = ops.mul_mat(expand_values, x)
                x = ops.cont(ops.permute(x, 0, 2, 1, 3))
            x = ops.reshape(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
            return self.graph.expand(x)
        scores = ops.mul_mat(k, q)
        if self.shape.key("attn_logit_softcapping") or self.shape.arch == "grok":
            scores = ops.dup("SCALE", ops.dup("UNARY", ops.dup("SCALE", scores)))
        if bias is not None:
            scores = ops.dup("ADD", scores, bias)
        scores = Tensor("SOFT_MAX", "F32", scores.ne, (scores, mask) if sinks is None else (scores, mask, sinks))
        if not transposed:
            v = ops.cont(ops.transpose(v))
        x = ops.mul_mat(v, scores)
        if expand_values is not None:
            x = ops.mul_mat(expand_values, x)
        x = ops.permute(x, 0, 2, 1, 3)
        x = ops.cont(x, x.ne[0] * x.ne[1], x.ne[2] * x.ne[3])
        if not self.run.kv_offload:
            x.backend = self._cpu
        return self.graph.expand(x)

    # ------------------------------------------------------------ feed forward

    def ffn(self, x: Tensor, block: int, suffix: str = "", *, act: str = "UNARY", twice: bool = False) -> Tensor:
        """Up, gate and down (build_ffn); twice: an activation of two steps (squared relu)."""
        up, gate, down = (f"ffn_{part}{suffix}" for part in ("up", "gate", "down"))
        wide = self.linear(x, up, block)
        if self.weight(gate, block) is not None:
            x = ops.glu(self.linear(x, gate, block), wide)
        elif self._fused(up, down, block):
            x = ops.glu(wide)
        else:
            x = ops.dup(act, wide)
            x = ops.dup("SQR", x) if twice else x
        return self.linear(x, down, block)

    def _fused(self, up: str, down: str, block: int) -> bool:
        """True where one matrix makes both the gate and the wide result."""
        wide, narrow = self.weight(up, block), self.weight(down, block)
        return wide is not None and narrow is not None and wide.ne[1] == 2 * narrow.ne[0]

    def experts(
        self,
        x: Tensor,
        block: int,
        *,
        gating: str = "softmax",
        normed: bool = True,
        scaled: bool = False,
        router: Tensor | None = None,
        twice: bool = False,
    ) -> Tensor:
        """The experts of a block (build_moe_ffn), each token to the best few."""
        shape, n = self.shape, self.tokens_of(x)
        used = max(1, shape.listed("expert_used_count")[block])
        count = shape.experts
        width = x.ne[0]
        logits = router if router is not None else self.linear(x, "ffn_gate_inp", block)
        before = shape.arch == "llama4"
        probs = logits
        if gating == "softmax":
            probs = ops.dup("SOFT_MAX", logits)
        elif gating == "sigmoid":
            probs = ops.dup("UNARY", logits)
        choice = probs
        bias = self.weight("exp_probs_b", block, "bias") or self.weight("exp_probs_b", block, "")
        if bias is not None:
            choice = ops.dup("ADD", probs, bias)
        choice = logits if before else choice
        groups = shape.integer("expert_group_count")
        if groups > 1:
            choice = self._best_groups(choice, count, groups, shape.integer("expert_group_used_count"), n)
        chosen = ops.top_k(choice, used)
        weights = ops.get_rows(ops.reshape(probs, 1, count, n), chosen)
        if gating == "softmax_weight":
            weights = ops.reshape(ops.dup("SOFT_MAX", ops.reshape(weights, used, n)), 1, used, n)
        if normed:
            weights = ops.reshape(weights, used, n)
            total = ops.dup("CLAMP", ops.sum_rows(weights))
            weights = ops.reshape(ops.dup("DIV", weights, total), 1, used, n)
        if scaled:
            weights = ops.dup("SCALE", weights)
        self.graph.expand(weights)
        x = ops.reshape(x, width, 1, n)
        if before:
            x = ops.dup("MUL", ops.result("REPEAT", (width, used, n), x), weights)
        x = self._expert_activation(x, chosen, block, twice=twice)
        down = needed(self.weight("ffn_down_exps", block), "ffn_down_exps")
        x = ops.mul_mat_id(down, x, chosen)
        x = self._expert_bias(x, "ffn_down_exps", chosen, block)
        if not before:
            x = ops.dup("MUL", x, weights)
        self.graph.expand(x)
        parts = [self.graph.expand(ops.view(x, (width, n), (x.nb[2], x.nb[2] * n))) for _ in range(used)]
        found = parts[0]
        for part in parts[1:]:
            found = self.graph.expand(
                ops.dup("ADD", found, part) if found.contiguous() else ops.result("ADD", found.ne, found, part)
            )
        return ops.cont(found) if used == 1 else found

    def _expert_activation(self, x: Tensor, chosen: Tensor, block: int, *, twice: bool) -> Tensor:
        both = self.weight("ffn_gate_up_exps", block)
        if both is not None:
            wide = self._expert_bias(ops.mul_mat_id(both, x, chosen), "ffn_gate_up_exps", chosen, block)
            half = (wide.ne[0] // 2, wide.ne[1], wide.ne[2])
            gate, up = (ops.view(wide, half, (wide.nb[1], wide.nb[2], wide.nb[3])) for _ in range(2))
            return ops.result("GLU", half, gate, up)
        wide = needed(self.weight("ffn_up_exps", block), "ffn_up_exps")
        up = self._expert_bias(ops.mul_mat_id(wide, x, chosen), "ffn_up_exps", chosen, block)
        table = self.weight("ffn_gate_exps", block)
        if table is not None:
            gate = self._expert_bias(ops.mul_mat_id(table, x, chosen), "ffn_gate_exps", chosen, block)
            return ops.glu(gate, up)
        found = ops.dup("UNARY", up)
        return ops.dup("SQR", found) if twice else found

    def _expert_bias(self, x: Tensor, name: str, chosen: Tensor, block: int) -> Tensor:
        bias = self.weight(name, block, "bias")
        return ops.dup("ADD_ID", x, bias, chosen) if bias is not None else x

    def _best_groups(self, probs: Tensor, count: int, groups: int, used: int, n: int) -> Tensor:
        """Scores with all groups of experts but the best masked out (DeepSeek-V3)."""
        size = count // groups
        grouped = ops.reshape(probs, size, groups, n)
        best = ops.top_k(grouped, 2)
        scores = ops.get_rows(ops.reshape(grouped, 1, size, groups, n), best)
        scores = ops.sum_rows(ops.reshape(scores, scores.ne[1], scores.ne[2], scores.ne[3]))
        scores = ops.reshape(scores, scores.ne[1], scores.ne[2])
        kept = ops.top_k(scores, used)
        rows = ops.get_rows(grouped, kept)
        blank = ops.dup("FILL", grouped)
        return ops.reshape(ops.store(blank, rows, kept, op="SET_ROWS"), count, n)

    @staticmethod
    def tokens_of(x: Tensor) -> int:
        """Rows of a result."""
        return x.ne[1]

    # ------------------------------------------------------------ the end

    def head(self, x: Tensor, *, capped: int = 0, norm: str = "output_norm", kind: str = "RMS_NORM") -> Tensor:
        """Final norm and logits; capped: how many element-wise steps follow."""
        return self.logits(self.norm(x, norm, None, kind=kind), capped=capped)

    def logits(self, x: Tensor, *, capped: int = 0) -> Tensor:
        """Logits of normed rows."""
        name = "output" if self.weight("output") is not None else "token_embd"
        table = self.weight(name)
        if name == "token_embd" and table is not None:
            table = self._tied(table)
        logits = ops.mul_mat(needed(table, name), x)
        bias = self.weight("output", None, "bias")
        if bias is not None:
            logits = ops.dup("ADD", logits, bias)
        for _ in range(capped):
            logits = ops.dup("SCALE", logits)
        return self.graph.expand(self.pooled(logits, x))

    def _tied(self, table: Tensor) -> Tensor:
        home = self._home("output.weight", None)
        return table if table.home == home else Tensor("NONE", table.kind, table.ne, home=home, weight=True)

    def pooled(self, logits: Tensor, embedding: Tensor) -> Tensor:
        """What follows the last result where embeddings are asked for (build_pooling)."""
        if not self.run.embedding:
            return logits
        self.graph.expand(logits)
        return embedding


def _unpacked(part: Tensor) -> int:
    """Bytes of the F16 copy that CUDA's kernels make of a quantised cache behind their result (fattn.cu)."""
    return 2 * part.elements if is_quantized(part.kind) else 0
