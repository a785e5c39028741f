"""Tensors of a compute graph, with the shapes and strides that ggml's operators give them; no data."""

from __future__ import annotations

from collections.abc import Sequence

from gslc.memory.gguf.types import block_of

Shape = tuple[int, int, int, int]
VIEW_OPS = frozenset({"VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"})
# ggml-alloc.c, ggml_op_can_inplace
INPLACE_OPS = frozenset({"FILL", "SCALE", "ADD", "ADD_ID", "SUB", "MUL", "DIV", "SQR", "SQRT", "LOG", "UNARY", "ROPE",
                         "RMS_NORM", "CLAMP", "SOFT_MAX"})  # fmt: skip


def shape4(lengths: Sequence[int]) -> Shape:
    """A shape of four lengths, missing ones 1."""
    padded = (*lengths, 1, 1, 1, 1)
    return (padded[0], padded[1], padded[2], padded[3])


def strides(kind: str, ne: Shape) -> Shape:
    """Contiguous strides in bytes."""
    block, size = block_of(kind)
    second = -(-ne[0] // block) * size
    return (size, second, second * ne[1], second * ne[1] * ne[2])


class Tensor:
    """A node or leaf. `home`: the backend of a tensor that lies in a weight or cache buffer, None for graph tensors.

    The fields below `order` are working fields of the scheduler and the allocator.
    """

    __slots__ = (
        "address",
        "allocated",
        "backend",
        "buffer",
        "children",
        "copies",
        "home",
        "is_input",
        "is_output",
        "kind",
        "nb",
        "ne",
        "op",
        "root",
        "size",
        "src",
        "views",
        "visited",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        op: str,
        kind: str,
        ne: Shape,
        src: tuple[Tensor, ...] = (),
        *,
        nb: Shape | None = None,
        root: Tensor | None = None,
        home: int | None = None,
        weight: bool = False,
        is_input: bool = False,
    ) -> None:
        self.op = op
        self.kind = kind
        self.ne = ne
        self.nb = nb if nb is not None else strides(kind, ne)
        self.src = src
        self.root = root
        self.home = home
        self.weight = weight
        self.is_input = is_input
        self.is_output = False
        self.visited = False
        self.size = self.nb[1] * ne[1] * ne[2] * ne[3] if nb is None else 0
        self.backend = -1
        self.copies: dict[int, list[Tensor]] | None = None
        self.children = 0
        self.views = 0
        self.allocated = False
        self.buffer = -1
        self.address = 0

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return self.ne[0] * self.ne[1] * self.ne[2] * self.ne[3]

    def contiguous(self) -> bool:
        """True when its strides are those of a fresh tensor."""
        return self.nb == strides(self.kind, self.ne)


# ------------------------------------------------------------------ operators


def dup(op: str, a: Tensor, *others: Tensor) -> Tensor:
    """An operator whose result looks like its first operand (contiguous)."""
    return Tensor(op, a.kind, a.ne, (a, *others))


def result(op: str, lengths: Sequence[int], *src: Tensor, kind: str = "F32") -> Tensor:
    """An operator with a result of its own shape."""
    return Tensor(op, kind, shape4(lengths), src)


def mul_mat(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product: rows of a against rows of b."""
    return result("MUL_MAT", (a.ne[1], b.ne[1], b.ne[2], b.ne[3]), a, b)


def mul_mat_id(a: Tensor, b: Tensor, ids: Tensor) -> Tensor:
    """Matrix product with the chosen experts."""
    return result("MUL_MAT_ID", (a.ne[1], ids.ne[0], b.ne[2]), a, b, ids)


def get_rows(a: Tensor, ids: Tensor) -> Tensor:
    """Chosen rows, always as F32 (I32 for indices)."""
    return result(
        "GET_ROWS", (a.ne[0], ids.ne[0], ids.ne[1], ids.ne[2]), a, ids, kind="I32" if a.kind == "I32" else "F32"
    )


def view(a: Tensor, lengths: Sequence[int], nb: Sequence[int]) -> Tensor:
    """A window on another tensor; nb are the strides of dimensions 1 to 3."""
    ne = shape4(lengths)
    first = a.nb[0] if a.kind == "F32" else block_of(a.kind)[1]
    given = list(nb)
    while len(given) < 3:
        given.append(given[-1] * ne[len(given)] if given else first * ne[0])
    return Tensor("VIEW", a.kind, ne, (a,), nb=(first, given[0], given[1], given[2]), root=a.root or a)


def reshape(a: Tensor, *lengths: int) -> Tensor:
    """The same elements in another shape."""
    ne = shape4(lengths)
    return Tensor("RESHAPE", a.kind, ne, (a,), nb=strides(a.kind, ne), root=a.root or a)


def permute(a: Tensor, *axes: int) -> Tensor:
    """The same elements with axes exchanged: axis i goes to axes[i]."""
    ne, nb = [1] * 4, [0] * 4
    for i, axis in enumerate(axes):
        ne[axis], nb[axis] = a.ne[i], a.nb[i]
    return Tensor("PERMUTE", a.kind, shape4(ne), (a,), nb=(nb[0], nb[1], nb[2], nb[3]), root=a.root or a)


def transpose(a: Tensor) -> Tensor:
    """The same elements with the first two axes exchanged."""
    ne = (a.ne[1], a.ne[0], a.ne[2], a.ne[3])
    return Tensor("TRANSPOSE", a.kind, ne, (a,), nb=(a.nb[1], a.nb[0], a.nb[2], a.nb[3]), root=a.root or a)


def cont(a: Tensor, *lengths: int) -> Tensor:
    """A contiguous copy, in another shape where one is given."""
    return result("CONT", lengths or a.ne, a, kind=a.kind)


def store(target: Tensor, *src: Tensor, op: str = "CPY") -> Tensor:
    """A write into an existing tensor (CPY, SET_ROWS): its result is a view of the target."""
    return Tensor(op, target.kind, target.ne, (*src, target), nb=target.nb, root=target.root or target)


def concat(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Two tensors side by side."""
    lengths = list(a.ne)
    lengths[axis] += b.ne[axis]
    return result("CONCAT", lengths, a, b, kind=a.kind)


def glu(a: Tensor, b: Tensor | None = None) -> Tensor:
    """A gated activation: of two tensors, or of the two halves of one."""
    if b is not None:
        return dup("GLU", a, b) if a.contiguous() else result("GLU", a.ne, a, b)
    return result("GLU", (a.ne[0] // 2, *a.ne[1:]), a)


def sum_rows(a: Tensor) -> Tensor:
    """The sum of each row."""
    return result("SUM_ROWS", (1, *a.ne[1:]), a)


def top_k(a: Tensor, count: int) -> Tensor:
    """The indices of the largest of each row: a full sort and a window on it."""
    order = Tensor("ARGSORT", "I32", a.ne, (a,))
    return view(order, (count, *a.ne[1:]), order.nb[1:])
