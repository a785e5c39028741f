"""Recurrent blocks (src/models/mamba-base.cpp, delta-net-base.cpp, lfm2.cpp)."""

from __future__ import annotations

from collections.abc import Callable

from gslc.memory.gguf.graphs import tensor as ops
from gslc.memory.gguf.graphs.build import Builder
from gslc.memory.gguf.graphs.needed import needed
from gslc.memory.gguf.graphs.tensor import Tensor

Rows = Callable[[Tensor, Tensor], Tensor]


class States:
    """The recurrent states of a graph: which slots are read, and where they are kept."""

    def __init__(self, build: Builder) -> None:
        self.build = build
        copy = build.input("I32", build.slots)
        self.main = ops.view(copy, (build.slots,), (copy.nb[1], copy.nb[1], copy.nb[1]))
        self.extra = ops.view(copy, (0,), (copy.nb[1], copy.nb[1], copy.nb[1]))
        self._tables: dict[tuple[int, str], Tensor] = {}

    def table(self, block: int, part: str) -> Tensor:
        """The state tensor of a block: "r" for the convolution, "s" for the scan."""
        key = (block, part)
        if key not in self._tables:
            shape = self.build.shape
            width = shape.conv_state if part == "r" else shape.scan_state
            self._tables[key] = self.build.cache("F32", (width, self.build.slots), block)
        return self._tables[key]

    def read(self, block: int, part: str, rows: Rows = ops.get_rows) -> Tensor:
        """The states of the slots in use (build_rs)."""
        graph = self.build.graph
        table = self.table(block, part)
        states = ops.reshape(table, table.ne[0], table.ne[1])
        zero = ops.view(states, (table.ne[0],), (states.nb[1], states.nb[1], states.nb[1]))
        graph.expand(Tensor("SCALE", "F32", zero.ne, (zero,), nb=zero.nb, root=table))
        found = graph.expand(rows(states, self.main))
        extra = ops.get_rows(states, self.extra)
        target = ops.view(table, (table.ne[0], 0), (table.nb[1], table.nb[2], table.nb[3]))
        graph.expand(ops.store(target, extra))
        return found

    def write(self, block: int, part: str, source: Tensor) -> None:
        """Keeps new states."""
        table = self.table(block, part)
        target = ops.view(table, (source.elements,), (table.nb[1], table.nb[1], table.nb[1]))
        self.build.graph.expand(ops.store(target, source))


def mamba(build: Builder, states: States, x: Tensor, block: int) -> Tensor:
    """A Mamba 1 block."""
    shape, slots = build.shape, build.slots
    kernel, inner, state, rank = (
        shape.integer("ssm." + k) for k in ("conv_kernel", "inner_size", "state_size", "time_step_rank")
    )
    per = build.tokens // slots
    conv = ops.reshape(states.read(block, "r"), kernel - 1, inner, slots)
    x = ops.reshape(x, x.ne[0], per, slots)
    both = build.linear(x, "ssm_in", block)
    z = ops.view(both, (inner, per, slots), (both.nb[1], both.nb[2], both.nb[3]))
    x = ops.view(both, (inner, per, slots), (both.nb[1], both.nb[2], both.nb[3]))
    wide = ops.concat(conv, ops.transpose(x), 0)
    last = ops.view(wide, (kernel - 1, inner, slots), (wide.nb[1], wide.nb[2], wide.nb[3]))
    states.write(block, "r", last)
    x = _convolved(build, wide, block, (inner, per, slots))
    mixed = build.linear(x, "ssm_x", block)
    dt = ops.view(mixed, (rank, per, slots), (mixed.nb[1], mixed.nb[2], mixed.nb[3]))
    b = ops.view(mixed, (state, 1, per, slots), (state * 4, mixed.nb[1], mixed.nb[2]))
    c = ops.view(mixed, (state, 1, per, slots), (state * 4, mixed.nb[1], mixed.nb[2]))
    if build.weight("ssm_dt_norm", block) is not None or shape.key("ssm.dt_b_c_rms"):
        dt, b, c = (build.norm(part, f"ssm_{name}_norm", block) for part, name in ((dt, "dt"), (b, "b"), (c, "c")))
    else:
        dt = ops.cont(dt)
    dt = build.linear(dt, "ssm_dt", block)
    heads = ops.reshape(x, 1, inner, per, slots)
    y = _scan(build, states, block, heads, dt, b, c, state, 1, inner)
    flat = ops.view(y, (inner, per, slots), (4 * inner, 4 * inner * per, 4 * inner * per * slots))
    d = needed(build.weight("ssm_d", block, ""), "ssm_d")
    y = ops.result("ADD", flat.ne, flat, ops.dup("MUL", x, d))
    y = ops.glu(ops.cont(z), y)
    y = build.linear(y, "ssm_out", block)
    return ops.reshape(y, y.ne[0], build.tokens)


def mamba2(build: Builder, states: States, x: Tensor, block: int) -> Tensor:
    """A Mamba 2 block."""
    shape, slots = build.shape, build.slots
    kernel, inner, state, heads, groups = (
        shape.integer("ssm." + k) for k in ("conv_kernel", "inner_size", "state_size", "time_step_rank", "group_count")
    )
    per = build.tokens // slots
    head = inner // heads
    channels = inner + 2 * groups * state
    conv = ops.reshape(states.read(block, "r"), kernel - 1, channels, slots)
    all_in = build.linear(x, "ssm_in", block)
    all_in = ops.reshape(all_in, all_in.ne[0], per, slots)
    steps = (all_in.nb[1], all_in.nb[2], all_in.nb[3])
    z = ops.view(all_in, (head, heads, per, slots), (head * 4, all_in.nb[1], all_in.nb[2]))
    mixed = ops.view(all_in, (channels, per, slots), steps)
    dt = ops.view(all_in, (heads, per, slots), steps)
    wide = ops.concat(conv, ops.transpose(mixed), 0)
    last = ops.view(wide, (kernel - 1, channels, slots), (wide.nb[1], wide.nb[2], wide.nb[3]))
    states.write(block, "r", last)
    mixed = _convolved(build, wide, block, (channels, per, slots))
    x = ops.view(mixed, (head, heads, per, slots), (head * 4, mixed.nb[1], mixed.nb[2]))
    b = ops.view(mixed, (state, groups, per, slots), (state * 4, mixed.nb[1], mixed.nb[2]))
    c = ops.view(mixed, (state, groups, per, slots), (state * 4, mixed.nb[1], mixed.nb[2]))
    dt = ops.cont(dt)
    bias = build.weight("ssm_dt", block, "bias")
    dt = ops.dup("ADD", dt, bias) if bias is not None else dt
    y = _scan(build, states, block, x, dt, b, c, state, head, heads)
    flat = ops.view(y, (head, heads, per, slots), (x.nb[1], heads * x.nb[1], per * heads * x.nb[1]))
    d = needed(build.weight("ssm_d", block, ""), "ssm_d")
    y = ops.result("ADD", flat.ne, flat, ops.result("MUL", x.ne, x, d))
    y = ops.glu(ops.cont(z), y)
    if build.weight("ssm_norm", block) is not None:
        y = build.norm(ops.reshape(y, inner // groups, groups, per, slots), "ssm_norm", block)
    y = ops.reshape(y, inner, build.tokens)
    return build.linear(y, "ssm_out", block)


def _convolved(build: Builder, wide: Tensor, block: int, lengths: tuple[int, ...]) -> Tensor:
    kernel = needed(build.weight("ssm_conv1d", block), "ssm_conv1d")
    x = ops.result("SSM_CONV", lengths, wide, kernel)
    bias = build.weight("ssm_conv1d", block, "bias")
    x = ops.dup("ADD", x, bias) if bias is not None else x
    return ops.dup("UNARY", x)


def _scan(
    build: Builder,
    states: States,
    block: int,
    x: Tensor,
    dt: Tensor,
    b: Tensor,
    c: Tensor,
    state: int,
    head: int,
    heads: int,
) -> Tensor:
    """The selective scan: results and the new states in one tensor."""
    a = needed(build.weight("ssm_a", block, ""), "ssm_a")

    def rows(table: Tensor, ids: Tensor) -> Tensor:
        ssm = ops.reshape(table, state, head, heads, build.slots)
        count = x.elements + state * head * heads * build.slots
        return ops.result("SSM_SCAN", (count,), ssm, x, dt, a, b, c, ids)

    y = states.read(block, "s", rows)
    states.write(block, "s", ops.view(y, (state * head * heads * build.slots,), (y.nb[1], y.nb[1], y.nb[1])))
    return y
