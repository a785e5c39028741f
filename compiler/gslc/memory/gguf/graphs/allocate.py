"""The graph allocator of ggml (ggml-alloc.c): how large the compute buffer of each backend becomes."""

from __future__ import annotations

from gslc.memory.gguf.graphs.tensor import INPLACE_OPS, Tensor

ENDLESS = 1 << 62


class Buffer:
    """One growing buffer: best fit among the holes, else at the end."""

    __slots__ = ("align", "free", "highest")

    def __init__(self, align: int) -> None:
        self.align = align
        self.free: list[list[int]] = [[0, ENDLESS]]
        self.highest = 0

    def take(self, size: int) -> int:
        """The offset of `size` more bytes."""
        size = -(-size // self.align) * self.align
        best, best_size = -1, ENDLESS
        holes = self.free
        for i in range(len(holes) - 1):
            if size <= holes[i][1] <= best_size:
                best, best_size = i, holes[i][1]
        if best < 0:
            best = len(holes) - 1
        hole = holes[best]
        at = hole[0]
        hole[0] += size
        hole[1] -= size
        if not hole[1]:
            del holes[best]
        self.highest = max(self.highest, at + size)
        return at

    def give(self, at: int, size: int) -> None:
        """Takes `size` bytes at `at` back, joined with the holes beside them."""
        size = -(-size // self.align) * self.align
        holes = self.free
        for i, hole in enumerate(holes):
            if hole[0] + hole[1] == at:
                hole[1] += size
                if i + 1 < len(holes) and hole[0] + hole[1] == holes[i + 1][0]:
                    hole[1] += holes[i + 1][1]
                    del holes[i + 1]
                return
            if at + size == hole[0]:
                hole[0] = at
                hole[1] += size
                if i > 0 and holes[i - 1][0] + holes[i - 1][1] == hole[0]:
                    holes[i - 1][1] += hole[1]
                    del holes[i]
                return
        place = 0
        while place < len(holes) and holes[place][0] < at:
            place += 1
        holes.insert(place, [at, size])


class Allocator:
    """ggml_gallocr: leaves first, then inputs, then node by node, in place where a parent is not needed any more."""

    def __init__(self, aligns: list[int]) -> None:
        self.buffers = [Buffer(align) for align in aligns]

    def run(
        self, nodes: list[Tensor], node_backends: list[int], leaves: list[Tensor], leaf_backends: list[int]
    ) -> None:
        """Places the whole graph; `buffers[i].highest` is then the size of buffer i."""
        for leaf, backend in zip(leaves, leaf_backends, strict=True):
            self._place(leaf, backend)
        for node, backend in zip(nodes, node_backends, strict=True):
            if node.root is not None and node.op != "NONE":
                node.root.views += 1
            if node.is_input:
                self._place(node, backend)
            for src in node.src:
                src.children += 1
                if src.is_input:
                    self._place(src, backend)
        for node, backend in zip(nodes, node_backends, strict=True):
            for src in node.src:
                self._place(src, backend)
            self._place(node, backend)
            for src in node.src:
                src.children -= 1
                if src.children == 0 and src.views == 0:
                    self._done(src)

    def _done(self, tensor: Tensor) -> None:
        """Frees a tensor that nothing reads any more; a view's memory is its root's."""
        root = tensor.root
        if root is None:
            if tensor.allocated:
                self._release(tensor)
            return
        root.views -= 1
        if root.views == 0 and root.children == 0 and root.allocated:
            self._release(root)

    def _place(self, node: Tensor, backend: int) -> None:
        if node.home is not None or node.allocated or node.root is not None:
            return
        node.allocated = True
        if node.op in INPLACE_OPS and self._reuse_parent(node):
            return
        node.buffer = backend
        node.address = self.buffers[backend].take(node.size)

    def _reuse_parent(self, node: Tensor) -> bool:
        # a view is never marked as allocated, so only parents with memory of their own are reused
        for parent in node.src:
            if not parent.allocated or parent.is_output or parent.children != 1 or parent.views:
                continue
            if node.kind == parent.kind and node.ne == parent.ne and node.nb == parent.nb:
                self._inherit(node, parent)
                return True
        return False

    def _inherit(self, node: Tensor, parent: Tensor) -> None:
        node.buffer, node.address = parent.buffer, parent.address
        parent.allocated = False
        align = self.buffers[node.buffer].align
        extra = -(-parent.size // align) * align - -(-node.size // align) * align
        if extra > 0:
            self.buffers[node.buffer].give(node.address + -(-node.size // align) * align, extra)

    def _release(self, node: Tensor) -> None:
        if node.is_output:
            return
        self.buffers[node.buffer].give(node.address, node.size)
        node.allocated = False
