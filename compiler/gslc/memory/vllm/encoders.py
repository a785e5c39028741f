"""What encoders hold: BERT's embeddings and heads, Whisper's audio side, vision towers."""

from __future__ import annotations

from collections.abc import Iterator

from gslc.memory.vllm.config import integer, mapping
from gslc.memory.vllm.matrix import VISION, Matrix, Split
from gslc.memory.vllm.shape import Shape


def encoder_ends(shape: Shape) -> Iterator[Matrix]:
    """Embeddings of an encoder-only model and the classification head of a reranker."""
    hidden, config = shape.hidden, shape.config
    norm = 2 if shape.family.norm_bias else 1
    yield Matrix(name="word embeddings", split="vocabulary", outputs=shape.vocabulary, inputs=hidden, stage="first")
    if shape.model_type == "modernbert":
        yield Matrix(name="final norm", split="whole", outputs=norm, inputs=hidden, stage="last")
    elif shape.family.positions is not None:
        # Positions and token types are embeddings of vLLM's own, padded like a vocabulary, on every rank's share.
        yield Matrix(name="positions", split="vocabulary", outputs=shape.positions, inputs=hidden, stage="first")
        types = integer(config, "type_vocab_size", default=2)
        yield Matrix(name="token types", split="vocabulary", outputs=types, inputs=hidden, stage="first")
    yield Matrix(name="embedding norm", split="whole", outputs=norm, inputs=hidden, stage="first")
    if shape.architecture.endswith("ForSequenceClassification"):
        labels = len(mapping(config, "id2label") or {}) or 2
        heads = (
            2 if "Roberta" in shape.architecture else 1
        )  # RoBERTa's head is held by the classifier and by the pooler
        yield Matrix(name="classifier", split="whole", outputs=hidden * heads, inputs=hidden, bias=True, stage="last")
        yield Matrix(name="labels", split="whole", outputs=labels * heads, inputs=hidden, bias=True, stage="last")


def vision_tower(shape: Shape) -> Iterator[Matrix]:
    """The tower of a model that sees: layers, patches, and the way into the language model.

    Written from the towers of Qwen2-VL, Qwen2.5-VL, SigLIP and CLIP; exact bytes come from the files' own table.
    """
    vision = shape.vision
    if vision is None:
        return
    hidden, width, count = vision.hidden, vision.intermediate, vision.layers
    up = 2 * width if vision.gated else width

    def of_layers(name: str, split: Split, outputs: int, inputs: int) -> Iterator[Matrix]:
        for _ in range(count):
            yield Matrix(name=f"{VISION}{name}", split=split, outputs=outputs, inputs=inputs, bias=True, stage="first")

    yield from of_layers("query, key and value", "column", 3 * hidden, hidden)
    yield from of_layers("attention output", "row", hidden, hidden)
    yield from of_layers("feed-forward up", "column", up, hidden)
    yield from of_layers("feed-forward down", "row", hidden, width)
    yield from of_layers("norms", "whole", 2, hidden)
    yield Matrix(name=f"{VISION}patches", split="whole", outputs=hidden, inputs=vision.patch_values, stage="first")
    if vision.merged:
        wide = hidden * vision.merged
        yield Matrix(name=f"{VISION}merger up", split="column", outputs=wide, inputs=wide, bias=True, stage="first")
        yield Matrix(
            name=f"{VISION}merger down", split="row", outputs=shape.hidden, inputs=wide, bias=True, stage="first"
        )
    else:
        yield Matrix(name=f"{VISION}positions", split="whole", outputs=vision.patches, inputs=hidden, stage="first")
        yield Matrix(
            name=f"{VISION}projector", split="column", outputs=shape.hidden, inputs=hidden, bias=True, stage="first"
        )
        yield Matrix(
            name=f"{VISION}projector out",
            split="row",
            outputs=shape.hidden,
            inputs=shape.hidden,
            bias=True,
            stage="first",
        )


def audio_encoder(shape: Shape) -> Iterator[Matrix]:
    """Whisper's encoder and the cross attention of its decoder."""
    if not shape.cross_attention:
        return
    hidden, layers = shape.hidden, tuple(range(shape.encoder_layers))
    width = integer(shape.config, "encoder_ffn_dim", default=4 * hidden)
    mels = integer(shape.config, "num_mel_bins", default=80)
    yield Matrix(
        name="audio convolutions", split="whole", outputs=hidden, inputs=3 * mels + 3 * hidden + 2, stage="first"
    )
    yield Matrix(name="audio positions", split="whole", outputs=shape.encoder_positions, inputs=hidden, stage="first")
    yield Matrix(name="encoder norm", split="whole", outputs=2, inputs=hidden, stage="first")
    for name, holders in (("encoder", layers), ("cross attention", tuple(range(shape.layers)))):
        yield Matrix(
            name=f"{name} query, key and value",
            split="heads",
            outputs=3 * hidden,
            inputs=hidden,
            parts=(hidden, hidden, hidden),
            bias=True,
            layers=holders,
        )
        yield Matrix(name=f"{name} output", split="row", outputs=hidden, inputs=hidden, bias=True, layers=holders)
        yield Matrix(name=f"{name} norm", split="whole", outputs=2, inputs=hidden, layers=holders)
    yield Matrix(name="encoder up", split="column", outputs=width, inputs=hidden, bias=True, layers=layers)
    yield Matrix(name="encoder down", split="row", outputs=hidden, inputs=width, bias=True, layers=layers)
    yield Matrix(name="encoder norms", split="whole", outputs=2, inputs=hidden, layers=layers)
