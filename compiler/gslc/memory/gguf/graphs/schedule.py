"""The scheduler of ggml (ggml-backend.cpp): which backend runs which node, and what is copied between backends."""

from __future__ import annotations

from gslc.ir.record import dataclass
from gslc.memory.gguf.graphs.allocate import Allocator
from gslc.memory.gguf.graphs.tensor import VIEW_OPS, Tensor
from gslc.memory.gguf.types import block_of

PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES
OFFLOAD_ROWS = 32  # ggml_backend_cuda_device_offload_op: batches from this size on are worth copying weights for


@dataclass(slots=True)
class Split:
    """Consecutive nodes on one backend, and what they need from elsewhere."""

    backend: int
    start: int
    end: int
    inputs: list[Tensor]


class Graph:
    """Nodes in the order of ggml_build_forward_expand."""

    def __init__(self) -> None:
        self.nodes: list[Tensor] = []
        self.leaves: list[Tensor] = []

    def expand(self, tensor: Tensor) -> Tensor:
        """Adds a tensor behind everything it depends on."""
        if tensor.visited:
            return tensor
        stack: list[tuple[Tensor, int]] = [(tensor, 0)]
        tensor.visited = True
        while stack:
            node, at = stack.pop()
            src = node.src
            while at < len(src) and src[at].visited:
                at += 1
            if at < len(src):
                stack.append((node, at + 1))
                src[at].visited = True
                stack.append((src[at], 0))
            elif node.op == "NONE":
                self.leaves.append(node)
            else:
                self.nodes.append(node)
        return tensor


class Scheduler:
    """ggml_backend_sched over devices 0…n-1 and the CPU, which comes last."""

    def __init__(self, devices: int, *, offload_ops: bool, copies: int) -> None:
        self.cpu = devices
        self.offload_ops = offload_ops
        self.copies = copies

    def measure(self, graph: Graph, aligns: list[int]) -> list[int]:
        """Bytes of the compute buffer of every backend, the CPU last."""
        nodes = graph.nodes
        self._assign(graph)
        splits = self._split(nodes)
        graph_inputs = self._pipeline_inputs(graph.leaves) if self.copies > 1 else []
        out_nodes: list[Tensor] = []
        out_backends: list[int] = []
        for split in splits:
            for source in split.inputs:
                hold = Tensor("NONE", source.kind, source.ne, (source,), nb=source.nb, root=source.root or source)
                out_nodes.append(hold)
                out_backends.append(source.backend)
                assert source.copies is not None
                out_nodes.append(source.copies[split.backend][0])
                out_backends.append(split.backend)
            for node in nodes[split.start : split.end]:
                out_nodes.append(node)
                out_backends.append(node.backend)
        leaves: list[Tensor] = []
        leaf_backends: list[int] = []
        if self.copies > 1:
            for leaf in graph_inputs:
                for copy in (leaf.copies or {})[leaf.backend]:
                    leaves.append(copy)
                    leaf_backends.append(leaf.backend)
            for split in splits:
                for source in split.inputs:
                    for copy in (source.copies or {})[split.backend]:
                        leaves.append(copy)
                        leaf_backends.append(split.backend)
        for leaf in graph.leaves:
            leaves.append(leaf)
            leaf_backends.append(leaf.backend)
        allocator = Allocator(aligns)
        allocator.run(out_nodes, out_backends, leaves, leaf_backends)
        return [buffer.highest for buffer in allocator.buffers]

    # ------------------------------------------------------------ passes 1 to 4

    def _assign(self, graph: Graph) -> None:
        nodes = graph.nodes
        for tensor in graph.leaves:
            if tensor.backend < 0:
                tensor.backend = self._from_current(tensor)
        for node in nodes:
            if node.backend < 0:
                node.backend = self._from_current(node)
        work = [node for node in nodes if node.op not in VIEW_OPS]
        back = work[::-1]
        self._spread(work, skip_cpu=True)
        self._spread(back, skip_cpu=True)
        self._spread(work, skip_cpu=False)
        self._spread(back, skip_cpu=False)
        for node in nodes:
            if node.root is not None and node.backend < 0:
                node.backend = node.root.backend
            for src in node.src:
                if src.backend < 0:
                    src.backend = src.root.backend if src.root is not None else node.backend
            node.backend = max(node.backend, 0)

    def _from_current(self, tensor: Tensor) -> int:
        home = tensor.root.home if tensor.root is not None else tensor.home
        if home is not None:
            return home
        if tensor.is_input:
            return self.cpu
        if tensor.op in ("ROPE", "FLASH_ATTN_EXT"):
            return -1
        for src in tensor.src:
            if src.weight and src.home is not None:
                if self.offload_ops and src.home == self.cpu and self.cpu and _batch_rows(tensor) >= OFFLOAD_ROWS:
                    return 0
                return src.home
        return -1

    def _spread(self, nodes: list[Tensor], *, skip_cpu: bool) -> None:
        current = -1
        for node in nodes:
            if node.backend >= 0:
                current = -1 if skip_cpu and node.backend == self.cpu else node.backend
            elif current >= 0:
                node.backend = current

    # ------------------------------------------------------------ passes 5 and 6

    def _split(self, nodes: list[Tensor]) -> list[Split]:
        first = next((node for node in nodes if node.op not in VIEW_OPS), None)
        if first is None:
            return []
        split = Split(first.backend, 0, len(nodes), [])
        splits = [split]
        for index, node in enumerate(nodes):
            if node.op in VIEW_OPS:
                continue
            fresh = node.backend != split.backend
            if not fresh and split.inputs:
                fresh = any(src.weight and split.backend not in (src.backend, src.home) for src in node.src)
            if fresh:
                split.end = index
                split = Split(node.backend, index, len(nodes), [])
                splits.append(split)
            self._copy_sources(node, split)
        return splits

    def _copy_sources(self, node: Tensor, split: Split) -> None:
        changed: list[Tensor] | None = None
        for position, src in enumerate(node.src):
            if src.backend == split.backend or self._lies_on(src, split.backend):
                continue
            if src.copies is None:
                src.copies = {}
            if split.backend not in src.copies:
                src.copies[split.backend] = [self._copy_of(src, self.copies > 1) for _ in range(self.copies)]
                split.inputs.append(src)
            changed = changed if changed is not None else list(node.src)
            changed[position] = src.copies[split.backend][0]
        if changed is not None:
            node.src = tuple(changed)

    @staticmethod
    def _lies_on(tensor: Tensor, backend: int) -> bool:
        home = tensor.root.home if tensor.root is not None else tensor.home
        return home == backend if home is not None else tensor.backend == backend

    @staticmethod
    def _copy_of(tensor: Tensor, kept: bool) -> Tensor:
        copy = Tensor("NONE", tensor.kind, tensor.ne)
        if tensor.nb != copy.nb:
            copy.nb = tensor.nb
            copy.size = _span(tensor)
        copy.is_input = copy.is_output = kept
        return copy

    def _pipeline_inputs(self, leaves: list[Tensor]) -> list[Tensor]:
        found = []
        for leaf in leaves:
            if not leaf.is_input:
                continue
            if leaf.copies is None:
                leaf.copies = {}
            if leaf.backend not in leaf.copies:
                others = [self._copy_of(leaf, kept=True) for _ in range(self.copies - 1)]
                leaf.is_output = True
                leaf.copies[leaf.backend] = [leaf, *others]
            found.append(leaf)
        return found


def _batch_rows(tensor: Tensor) -> int:
    if tensor.op == "GET_ROWS":
        return 0
    if tensor.op == "MUL_MAT":
        return tensor.ne[1]
    if tensor.op in ("MUL_MAT_ID", "ROPE"):
        return tensor.ne[2]
    return tensor.ne[1] * tensor.ne[2] * tensor.ne[3]


def _span(tensor: Tensor) -> int:
    """Bytes from the first to the last element (ggml_nbytes of a tensor with its own strides)."""
    block, size = block_of(tensor.kind)
    total = tensor.ne[0] // block * size if block > 1 else tensor.nb[0] * tensor.ne[0]
    for length, step in zip(tensor.ne[1:], tensor.nb[1:], strict=True):
        total += (length - 1) * step
    return total
