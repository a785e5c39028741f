"""Small makers of model files: GGUF headers and safetensors headers with published shapes, their data a hole."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from gslc.ir.tensor_types import GGML_TYPES, ggml_tensor_bytes, safetensors_tensor_bytes

Tensor = tuple[str, tuple[int, ...], str]
ALIGNMENT = 32


@dataclass(frozen=True, slots=True)
class Sparse:
    """A file that begins with `head` and is zeros up to `size` bytes."""

    head: bytes
    size: int

    def part(self, start: int, length: int) -> bytes:
        """Bytes of the file, zeros beyond the head."""
        length = max(0, min(length, self.size - start))
        piece = self.head[start : start + length]
        return piece + bytes(length - len(piece))


# ------------------------------------------------------------------ GGUF


def text(value: str | bytes, order: str = "<") -> bytes:
    """A GGUF string."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(order + "Q", len(raw)) + raw


def value_of(value: object, order: str = "<") -> bytes:
    """A GGUF value with its type: bool, int (uint32, or int32 below zero), float (float32), str, or a list of one of them."""
    if isinstance(value, list):
        inner = [value_of(item, order) for item in value]
        kind = inner[0][:4] if inner else struct.pack(order + "I", 4)
        return (
            struct.pack(order + "I", 9)
            + kind
            + struct.pack(order + "Q", len(inner))
            + b"".join(item[4:] for item in inner)
        )
    if isinstance(value, bool):
        return struct.pack(order + "IB", 7, value)
    if isinstance(value, int):
        return struct.pack(order + ("Ii" if value < 0 else "II"), 5 if value < 0 else 4, value)
    if isinstance(value, float):
        return struct.pack(order + "If", 6, value)
    return struct.pack(order + "I", 8) + text(str(value), order)


def gguf(
    keys: Mapping[str, object], tensors: Sequence[Tensor] = (), *, version: int = 3, order: str = "<", tokens: int = 0
) -> Sparse:
    """A GGUF file. Shapes are in ggml order, fastest dimension first; `tokens` adds a vocabulary of that size."""
    pairs = [text(key, order) + value_of(value, order) for key, value in keys.items()]
    if tokens:
        pairs.append(_vocabulary(tokens, order))
    table: list[bytes] = []
    offset = 0
    for name, shape, kind in tensors:
        entry = text(name, order) + struct.pack(f"{order}I{len(shape)}Q", len(shape), *shape)
        table.append(entry + struct.pack(order + "IQ", GGML_TYPES[kind].number, offset))
        offset += -(-ggml_tensor_bytes(kind, shape) // ALIGNMENT) * ALIGNMENT
    counts = struct.pack(order + "IQQ", version, len(tensors), len(pairs))
    head = b"GGUF" + counts + b"".join(pairs) + b"".join(table)
    head += bytes(-len(head) % ALIGNMENT)
    return Sparse(head, len(head) + offset)


@cache
def _vocabulary(tokens: int, order: str) -> bytes:
    """The key with the words."""
    words = b"".join(text(f"t{number}", order) for number in range(tokens))
    return text("tokenizer.ggml.tokens", order) + struct.pack(order + "IIQ", 9, 8, tokens) + words


def llama_tensors(
    blocks: int, width: int, heads_kv_width: int, inner: int, vocabulary: int, kind: str = "Q4_K"
) -> list[Tensor]:
    """The table of a dense model with llama's names."""
    tensors: list[Tensor] = [("token_embd.weight", (width, vocabulary), kind), ("output_norm.weight", (width,), "F32")]
    for block in range(blocks):
        head = f"blk.{block}."
        tensors += [
            (head + "attn_norm.weight", (width,), "F32"),
            (head + "attn_q.weight", (width, width), kind),
            (head + "attn_k.weight", (width, heads_kv_width), kind),
            (head + "attn_v.weight", (width, heads_kv_width), "Q6_K" if kind == "Q4_K" and block % 2 else kind),
            (head + "attn_output.weight", (width, width), kind),
            (head + "ffn_norm.weight", (width,), "F32"),
            (head + "ffn_gate.weight", (width, inner), kind),
            (head + "ffn_up.weight", (width, inner), kind),
            (head + "ffn_down.weight", (inner, width), kind),
        ]
    return [*tensors, ("output.weight", (width, vocabulary), kind)]


def llama_gguf(
    blocks: int = 2, kind: str = "Q4_K", *, tokens: int = 100, extra: Mapping[str, object] | None = None, **shape: int
) -> Sparse:
    """A dense llama of any size; extra keys are added to its header."""
    width, inner, kv = shape.get("width", 256), shape.get("inner", 512), shape.get("kv", 256)
    keys: dict[str, object] = {
        "general.architecture": "llama",
        "general.name": "a llama",
        "llama.block_count": blocks,
        "llama.context_length": 4096,
        "llama.embedding_length": width,
        "llama.feed_forward_length": inner,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": max(1, 8 * kv // width),
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.chat_template": "{{ messages }}",
        **(extra or {}),
    }
    return gguf(
        keys, llama_tensors(blocks, width, kv, inner, max(tokens, 1) if kind == "F32" else 256, kind), tokens=tokens
    )


def llama_split(parts: int, blocks: int = 4) -> list[Sparse]:
    """The same model in several files, as llama-gguf-split writes it: all keys in the first."""
    tensors = llama_tensors(blocks, 256, 256, 512, 256)
    step = -(-len(tensors) // parts)
    files = []
    for number in range(parts):
        keys: dict[str, object] = {"split.no": number, "split.count": parts, "split.tensors.count": len(tensors)}
        if number == 0:
            keys = {"general.architecture": "llama", "llama.block_count": blocks, "llama.embedding_length": 256, **keys}
        files.append(gguf(keys, tensors[number * step : (number + 1) * step], tokens=50 if number == 0 else 0))
    return files


def projector_gguf(kind: str = "F16", width: int = 256) -> Sparse:
    """A projector for images."""
    keys = {
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.vision.block_count": 1,
        "clip.projector_type": "mlp",
    }
    return gguf(keys, [("v.blk.0.attn_q.weight", (width, width), kind), ("mm.0.weight", (width, width), kind)])


# ------------------------------------------------------------------ safetensors


def safetensors(tensors: Sequence[Tensor]) -> Sparse:
    """A safetensors file. Shapes are slowest dimension first."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape, dtype in tensors:
        size = safetensors_tensor_bytes(dtype, shape)
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(table).encode()
    raw += b" " * (-len(raw) % 8)
    return Sparse(struct.pack("<Q", len(raw)) + raw, 8 + len(raw) + offset)


def decoder_tensors(
    config: Mapping[str, int], *, dtype: str = "BF16", tied: bool = False, qkv_bias: bool = False
) -> Iterator[Tensor]:
    """The table of a dense decoder by transformers' names, from the numbers of its config.json."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    query, key = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden), dtype
    yield "model.norm.weight", (hidden,), dtype
    if not tied:
        yield "lm_head.weight", (config["vocab_size"], hidden), dtype
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, width in (("q", query), ("k", key), ("v", key)):
            yield f"{at}self_attn.{name}_proj.weight", (width, hidden), dtype
            if qkv_bias:
                yield f"{at}self_attn.{name}_proj.bias", (width,), dtype
        yield f"{at}self_attn.o_proj.weight", (hidden, query), dtype
        yield f"{at}mlp.gate_proj.weight", (inner, hidden), dtype
        yield f"{at}mlp.up_proj.weight", (inner, hidden), dtype
        yield f"{at}mlp.down_proj.weight", (hidden, inner), dtype
        yield f"{at}input_layernorm.weight", (hidden,), dtype
        yield f"{at}post_attention_layernorm.weight", (hidden,), dtype


TINY_CONFIG: dict[str, int] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "vocab_size": 100,
}


def transformers_repository(
    config: Mapping[str, object] | None = None,
    *,
    shards: int = 1,
    architecture: str = "LlamaForCausalLM",
    dtype: str = "BF16",
) -> dict[str, bytes | Sparse]:
    """The files of a dense decoder's repository, with its weights in one file or in several with an index."""
    numbers: dict[str, int] = {
        **TINY_CONFIG,
        **{key: value for key, value in (config or {}).items() if isinstance(value, int)},
    }
    described = {
        "architectures": [architecture],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        **numbers,
        **(config or {}),
    }
    tied = bool(described.get("tie_word_embeddings", False))
    bias = bool(described.get("attention_bias", False))
    tensors = list(decoder_tensors(numbers, dtype=dtype, tied=tied, qkv_bias=bias))
    files: dict[str, bytes | Sparse] = {
        "config.json": json.dumps(described).encode(),
        "tokenizer_config.json": b'{"model_max_length": 4096}',
        "tokenizer.json": b"{}",
        "README.md": b"# a model\n",
        ".gitattributes": b"",
    }
    if shards == 1:
        return {**files, "model.safetensors": safetensors(tensors)}
    step = -(-len(tensors) // shards)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        part = tensors[number * step : (number + 1) * step]
        name = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        weight_map.update({tensor[0]: name for tensor in part})
        files[name] = safetensors(part)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files
