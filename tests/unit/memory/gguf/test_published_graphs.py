"""Compute buffers of architectures that the truth file lacks, as llama-fit-params of build 11669 prints them.

Each model has the published widths and 1,024 tokens of vocabulary; its only device is an RPC server.
"""

from __future__ import annotations

import pytest
from model_files import Tensor, gguf

from gslc.edges.gguf_model import read_gguf_header
from gslc.engines.llama_profile import profile_of
from gslc.engines.llama_settings import LlamaSettings
from gslc.ir.facts import GgufFacts
from gslc.memory.gguf.footprint import Device, footprint
from gslc.memory.gguf.review import doubt_message
from gslc.memory.gguf.shape import ModelShape

MIB = 1 << 20
VOCABULARY = 1024
SETTINGS = LlamaSettings(context_tokens=8192, parallel=1, embedding=True, ubatch=512, batch=2048)


class Bytes:
    """A file in memory, by range."""

    name = "model.gguf"

    def __init__(self, head: bytes, size_bytes: int) -> None:
        self.head = head
        self.size_bytes = size_bytes

    def read(self, offset: int, length: int) -> bytes:
        return self.head[offset : offset + length]


def decoder(
    arch: str, blocks: int, embedding: int, heads: int, kv_heads: int, width: int, *norms: str, **keys: object
) -> GgufFacts:
    """A decoder of heads 128 wide; `norms` are the block's norms with their widths ("attn_norm:4096")."""
    numbers: dict[str, object] = {
        "context_length": 131072, "embedding_length": embedding, "block_count": blocks, "feed_forward_length": width,
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "attention.key_length": 128,
        "attention.value_length": 128, "vocab_size": VOCABULARY, **keys,
    }  # fmt: skip
    tensors: list[Tensor] = [("token_embd.weight", (embedding, VOCABULARY), "Q4_K")]
    tensors += [("output_norm.weight", (embedding,), "F32"), ("output.weight", (embedding, VOCABULARY), "Q6_K")]
    experts = numbers.get("expert_count")
    for block in range(blocks):
        at = f"blk.{block}."
        tensors += [(f"{at}{norm}.weight", (int(size),), "F32") for norm, size in (n.split(":") for n in norms)]
        tensors += [
            (at + "attn_q.weight", (embedding, heads * 128), "Q4_K"),
            (at + "attn_k.weight", (embedding, kv_heads * 128), "Q4_K"),
            (at + "attn_v.weight", (embedding, kv_heads * 128), "Q4_K"),
            (at + "attn_output.weight", (heads * 128, embedding), "Q4_K"),
        ]
        many = (experts,) if isinstance(experts, int) else ()
        suffix = "_exps" if many else ""
        tensors += [
            (f"{at}ffn_gate{suffix}.weight", (embedding, width, *many), "Q4_K"),
            (f"{at}ffn_up{suffix}.weight", (embedding, width, *many), "Q4_K"),
            (f"{at}ffn_down{suffix}.weight", (width, embedding, *many), "Q4_K"),
        ]
        if many:
            tensors += [(at + "ffn_gate_inp.weight", (embedding, *many), "F32"), (at + "exp_probs_b.bias", many, "F32")]
    named = {"general.architecture": arch} | {f"{arch}.{key}": value for key, value in numbers.items()}
    file = gguf(named, tensors)
    return read_gguf_header(Bytes(file.head, file.size))


def exaone4() -> GgufFacts:
    norms = ("attn_q_norm:128", "attn_k_norm:128", "post_attention_norm:5120", "post_ffw_norm:5120")
    keys = {"attention.sliding_window": 4096, "attention.sliding_window_pattern": 4}
    return decoder("exaone4", 64, 5120, 40, 8, 27392, *norms, **keys)


def minimax_m2() -> GgufFacts:
    norms = ("attn_norm:3072", "attn_q_norm:6144", "attn_k_norm:1024", "ffn_norm:3072")
    keys = {"expert_count": 256, "expert_used_count": 8, "expert_feed_forward_length": 1536, "expert_gating_func": 2}
    return decoder("minimax-m2", 62, 3072, 48, 8, 1536, *norms, **keys)


def command_r7b() -> GgufFacts:
    return decoder("cohere2", 32, 4096, 32, 8, 14336, "attn_norm:4096", **{"attention.sliding_window": 4096})


@pytest.mark.parametrize(
    ("facts", "device_mib", "host_mib"),
    [(exaone4(), 213, 52), (minimax_m2(), 104, 32), (command_r7b(), 136, 44)],
    ids=["exaone4", "minimax-m2", "cohere2"],
)
def test_the_compute_buffers_are_the_engines(facts: GgufFacts, device_mib: int, host_mib: int) -> None:
    profile = profile_of("llama.cpp", "b11669")
    assert profile is not None
    found = footprint(ModelShape(facts), SETTINGS, profile, (Device(vendor=None),))
    assert found.exact
    assert doubt_message(ModelShape(facts)) == ""
    assert found.devices[0].compute // MIB == device_mib
    assert found.host.compute // MIB == host_mib


def test_images_widen_the_input_of_qwen3_vl() -> None:
    norms = ("attn_norm:4096", "attn_q_norm:128", "attn_k_norm:128", "ffn_norm:4096")
    profile = profile_of("llama.cpp", "b11669")
    assert profile is not None
    plain, stacked = (
        footprint(
            ModelShape(decoder("qwen3vl", 36, 4096, 32, 8, 12288, *norms, n_deepstack_layers=count)),
            SETTINGS,
            profile,
            (Device(vendor=None),),
        )
        for count in (0, 3)
    )
    assert plain.host.compute // MIB == 40
    assert stacked.host.compute // MIB == 88
    assert stacked.devices[0].compute >= 152 * MIB
