"""Which parallel layouts vLLM accepts, from config.json alone: every rule a named reason with its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from gslc.engines.vllm_versions import Version, version_tuple
from gslc.ir.diagnostic import Excluded
from gslc.ir.record import dataclass
from gslc.memory.vllm.architectures import supports_pipeline
from gslc.memory.vllm.matrices import matrices
from gslc.memory.vllm.matrix import VISION, VOCABULARY_PADDING, Matrix
from gslc.memory.vllm.shape import Shape
from gslc.memory.vllm.weights import converted

# From this version misaligned Marlin shapes are padded with zeros instead of refused (marlin_padded_nk; read in
# 0.26.0).
MARLIN_PADS_FROM: Version = (0, 26, 0)
MARLIN_OUTPUTS = 64  # GPTQ_MARLIN_MIN_THREAD_N
MARLIN_INPUTS = 128  # GPTQ_MARLIN_MIN_THREAD_K

OF_HEADS = frozenset({"attention output", "query up", "key and value up", "attention sinks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What of the command line changes legality."""

    version: str
    expert_parallel: bool = False
    vision_data_parallel: bool = False  # --mm-encoder-tp-mode data
    vision_off: bool = False
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    partition: tuple[int, ...] | None = None  # layers of each pipeline stage


def refusals(shape: Shape, tensor_parallel: int, pipeline_parallel: int, terms: Terms) -> tuple[Excluded, ...]:
    """Every rule that this layout breaks; () when vLLM accepts it."""
    what = layout_words(tensor_parallel, pipeline_parallel)
    found = [
        *_heads(shape, tensor_parallel),
        *_vocabulary(shape, tensor_parallel),
        *_kv_heads(shape, tensor_parallel),
        *_widths(shape, tensor_parallel, terms),
        *_mixers(shape, tensor_parallel),
        *_quantized(shape, tensor_parallel, terms),
        *_vision(shape, tensor_parallel, terms),
        *_pipeline(shape, pipeline_parallel, terms),
    ]
    return tuple(Excluded(what=what, rule=rule, detail=detail) for rule, detail in found)


def layout_words(tensor_parallel: int, pipeline_parallel: int) -> str:
    """The layout in words, for decisions and messages."""
    if tensor_parallel == 1 and pipeline_parallel == 1:
        return "one GPU"
    words = f"tensor parallel {tensor_parallel}"
    return words if pipeline_parallel == 1 else f"{words} x pipeline parallel {pipeline_parallel}"


def _heads(shape: Shape, ranks: int) -> Iterator[tuple[str, str]]:
    if shape.heads and shape.heads % ranks:
        yield (
            "attention heads",
            (
                f"{shape.heads} attention heads: tensor parallel {ranks} needs "
                f"{shape.heads} % {ranks} == 0, it is {shape.heads % ranks}"
            ),
        )


def _vocabulary(shape: Shape, ranks: int) -> Iterator[tuple[str, str]]:
    """Embeddings are padded to a multiple of 64 rows and split by rows; BERT's positions and token types too."""
    rows = [("vocabulary of", "tokens", shape.vocabulary)]
    rows += [
        (f"table of {item.name} with", "rows", item.outputs)
        for item in matrices(shape)
        if item.split == "vocabulary" and item.outputs != shape.vocabulary
    ]
    for kind, unit, count in rows:
        padded = -(-count // VOCABULARY_PADDING) * VOCABULARY_PADDING
        if padded % ranks:
            yield (
                "vocabulary",
                (
                    f"a {kind} {count} {unit}, padded to {padded}: tensor parallel {ranks} needs "
                    f"{padded} % {ranks} == 0, it is {padded % ranks}"
                ),
            )


def _kv_heads(shape: Shape, ranks: int) -> Iterator[tuple[str, str]]:
    keys = shape.kv_heads
    if shape.mla is not None or not keys or not shape.heads or shape.encoder_only:
        return
    if not shape.family.kv_replication and ranks > keys:
        yield (
            "key and value heads",
            (
                f"{keys} KV heads: this architecture never replicates them, so tensor "
                f"parallel {ranks} is above the most, {keys}"
            ),
        )
        return
    divides = keys % ranks == 0 if keys >= ranks else ranks % keys == 0
    if not divides:
        yield (
            "key and value heads",
            (
                f"{shape.heads} heads, {keys} KV heads: tensor parallel {ranks} needs "
                f"{keys} % {ranks} == 0 or {ranks} % {keys} == 0"
            ),
        )


def _widths(shape: Shape, ranks: int, terms: Terms) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for matrix in matrices(shape):
        if matrix.name in seen or matrix.name.startswith(VISION):
            continue
        seen.add(matrix.name)
        if matrix.name in OF_HEADS and shape.heads % ranks:
            continue  # its width is the heads': already refused
        yield from _divides(matrix, ranks, terms)


def _divides(matrix: Matrix, ranks: int, terms: Terms) -> Iterator[tuple[str, str]]:
    if matrix.split in {"expert_column", "expert_row"} and terms.expert_parallel:
        return
    if matrix.split in {"column", "expert_column"}:
        sizes: tuple[int, ...] = tuple(dict.fromkeys(matrix.parts or (matrix.outputs,)))
        side = "outputs"
    elif matrix.split in {"row", "expert_row"}:
        sizes, side = (matrix.inputs,), "inputs"
    else:
        return
    for size in sizes:
        if size % ranks:
            yield (
                "widths",
                (
                    f"{matrix.name} has {size} {side}: tensor parallel {ranks} needs "
                    f"{size} % {ranks} == 0, it is {size % ranks}"
                ),
            )


def _mixers(shape: Shape, ranks: int) -> Iterator[tuple[str, str]]:
    """Mamba 2 groups and delta-net heads are split whole."""
    mixer, linear = shape.state_space, shape.linear
    counts: list[tuple[str, int]] = []
    if mixer is not None and mixer.version == 2:
        counts = [("Mamba heads", mixer.heads)] + ([("Mamba groups", mixer.groups)] if mixer.groups > 1 else [])
    if linear is not None:
        counts += [("delta-net key heads", linear.key_heads), ("delta-net value heads", linear.value_heads)]
    for name, count in counts:
        if count % ranks:
            yield (name, f"{count} {name}: tensor parallel {ranks} needs {count} % {ranks} == 0, it is {count % ranks}")


def _quantized(shape: Shape, ranks: int, terms: Terms) -> Iterator[tuple[str, str]]:
    quantization = shape.quantization
    if not quantization.method or quantization.method == "mxfp4":
        return  # MXFP4 experts are padded by vLLM, so 2880 works
    for matrix in matrices(shape):
        if not (matrix.quantized and converted(shape, matrix)):
            continue
        if matrix.split.startswith("expert") and terms.expert_parallel:
            continue
        row = matrix.split in {"row", "expert_row"}
        inputs = matrix.inputs // ranks if row else matrix.inputs
        outputs = _output_parts(shape, matrix, ranks)
        if row and inputs * ranks != matrix.inputs:
            continue  # already refused by its width
        yield from _groups(shape, matrix, inputs, ranks, row)
        yield from _blocks(shape, matrix, inputs, outputs, ranks, row)
        yield from _packs(shape, matrix, inputs, outputs, ranks, terms)


def _output_parts(shape: Shape, matrix: Matrix, ranks: int) -> tuple[int, ...]:
    if matrix.split == "heads":
        queries, keys, _ = matrix.parts
        held = max(1, shape.kv_heads // ranks) * shape.head_width
        return (queries // ranks, held if keys else 0)
    if matrix.split in {"column", "expert_column"}:
        return tuple(part // ranks for part in (matrix.parts or (matrix.outputs,)))
    return (matrix.outputs,)


def _groups(shape: Shape, matrix: Matrix, inputs: int, ranks: int, row: bool) -> Iterator[tuple[str, str]]:
    group = shape.quantization.group
    if not group or not row or inputs % group == 0:
        return
    if shape.quantization.method == "gptq" and (group >= matrix.inputs or shape.quantization.reordered):
        return
    yield (
        "quantization groups",
        (
            f"{matrix.name} has {matrix.inputs} inputs, {inputs} on each of {ranks} ranks: not a multiple of the "
            f"{shape.quantization.method} group of {group}"
        ),
    )


def _blocks(
    shape: Shape, matrix: Matrix, inputs: int, outputs: tuple[int, ...], ranks: int, row: bool
) -> Iterator[tuple[str, str]]:
    block = shape.quantization.block
    if block is None:
        return
    rows, columns = block
    if row and ranks > 1 and inputs % columns:
        yield (
            "FP8 blocks",
            f"{matrix.name} has {inputs} inputs on each of {ranks} ranks: not a multiple of the block of {columns}",
        )
    split = ranks > 1 and matrix.split in {"column", "expert_column", "heads"}
    merged = len(matrix.parts) > 1
    if not split and not merged:
        return
    checked = outputs if split else outputs[:-1]
    wrong = next((part for part in checked if part % rows), None)
    if wrong is not None and not row:
        yield (
            "FP8 blocks",
            f"{matrix.name} has {wrong} outputs on each of {ranks} ranks: not a multiple of the block of {rows}",
        )


def _packs(
    shape: Shape, matrix: Matrix, inputs: int, outputs: tuple[int, ...], ranks: int, terms: Terms
) -> Iterator[tuple[str, str]]:
    quantization = shape.quantization
    if quantization.method == "awq":
        pack = 32 // quantization.bits
        wrong = next((part for part in outputs if part % pack), None)
        if wrong is not None:
            yield (
                "packed values",
                f"{matrix.name} has {wrong} outputs on each of {ranks} ranks: AWQ packs {pack} of them in a word",
            )
    strict = quantization.method == "gptq" and version_tuple(terms.version) < MARLIN_PADS_FROM
    if strict and not matrix.split.startswith("expert"):
        total = sum(outputs) if matrix.split != "heads" else outputs[0] + 2 * outputs[1]
        if total % MARLIN_OUTPUTS:
            yield (
                "Marlin tiles",
                (
                    f"{matrix.name} has {total} outputs on each of {ranks} ranks: not a "
                    f"multiple of {MARLIN_OUTPUTS} (vLLM before 0.26)"
                ),
            )
        if inputs % MARLIN_INPUTS:
            yield (
                "Marlin tiles",
                (
                    f"{matrix.name} has {inputs} inputs on each of {ranks} ranks: not a "
                    f"multiple of {MARLIN_INPUTS} (vLLM before 0.26)"
                ),
            )


def _vision(shape: Shape, ranks: int, terms: Terms) -> Iterator[tuple[str, str]]:
    vision = shape.vision
    if vision is None or terms.vision_data_parallel or terms.vision_off or ranks == 1:
        return
    if vision.heads and vision.heads % ranks:
        yield (
            "vision tower heads",
            (
                f"{vision.heads} heads in the vision tower: tensor parallel {ranks} "
                f"needs {vision.heads} % {ranks} == 0 "
                "(or --mm-encoder-tp-mode data)"
            ),
        )
    elif vision.intermediate and vision.intermediate % ranks:
        yield (
            "vision tower widths",
            (
                f"the vision tower's feed-forward has {vision.intermediate} inputs: tensor parallel {ranks} needs "
                f"{vision.intermediate} % {ranks} == 0 (or --mm-encoder-tp-mode data)"
            ),
        )


def _pipeline(shape: Shape, stages: int, terms: Terms) -> Iterator[tuple[str, str]]:
    if terms.partition is not None and len(terms.partition) != stages:
        yield (
            "layer partition",
            f"VLLM_PP_LAYER_PARTITION is for {len(terms.partition)} pipeline stages, this layout has {stages}",
        )
    if stages == 1:
        return
    if stages > shape.layers:
        yield ("layers", f"{shape.layers} layers: pipeline parallel {stages} would leave stages without one")
    if not supports_pipeline(shape.architecture, terms.version):
        yield (
            "pipeline support",
            f"vLLM {terms.version} has no pipeline parallelism for {shape.architecture or shape.model_type}",
        )
