"""A local hub with one tiny model of every kind, for tests that go the whole way from a source to a unit."""

from __future__ import annotations

from functools import cache
from typing import Any

from hub_server import HubServer
from model_files import Sparse, gguf, llama_gguf, projector_gguf, transformers_repository

SMALL_BERT = {
    "general.architecture": "bert", "bert.block_count": 2, "bert.context_length": 512, "bert.embedding_length": 64,
    "bert.feed_forward_length": 128, "bert.attention.head_count": 4, "bert.attention.layer_norm_epsilon": 1e-12,
    "bert.attention.causal": False, "tokenizer.ggml.model": "bert",
}  # fmt: skip


def bert(pooling: int) -> Sparse:
    """An encoder; pooling 4 is a reranker's."""
    tensors = [
        ("token_embd.weight", (64, 100), "F16"), ("token_types.weight", (64, 2), "F32"),
        ("position_embd.weight", (64, 512), "F32"),
        ("token_embd_norm.weight", (64,), "F32"), ("token_embd_norm.bias", (64,), "F32"),
    ]  # fmt: skip
    if pooling == 4:
        tensors += [("cls.weight", (64, 64), "F16"), ("cls.output.weight", (64, 1), "F16")]
    for block in range(2):
        at = f"blk.{block}."
        for part in ("q", "k", "v", "output"):
            tensors += [(f"{at}attn_{part}.weight", (64, 64), "F16"), (f"{at}attn_{part}.bias", (64,), "F32")]
        for part in ("attn_output_norm", "layer_output_norm"):
            tensors += [(f"{at}{part}.weight", (64,), "F32"), (f"{at}{part}.bias", (64,), "F32")]
        tensors += [(f"{at}ffn_up.bias", (128,), "F32"), (f"{at}ffn_down.bias", (64,), "F32")]
        tensors += [(f"{at}ffn_up.weight", (64, 128), "F16"), (f"{at}ffn_down.weight", (128, 64), "F16")]
    return gguf({**SMALL_BERT, "bert.pooling_type": pooling}, tensors, tokens=100)


@cache
def repositories() -> dict[str, dict[str, Any]]:
    """The files of each repository; made once, so to be left as they are."""
    readme = {"README.md": b"# a model\n"}
    flux = gguf(
        {"general.architecture": "flux"},
        [
            ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", (256, 768), "Q4_0"),
            ("text_encoders.t5xxl.encoder.block.0.layer.0.SelfAttention.q.weight", (256, 256), "Q4_0"),
            ("first_stage_model.decoder.conv_out.weight", (3, 3, 128, 3), "F16"),
        ],
    )
    whisper = {
        "config.json": b"{}", "tokenizer.json": b"{}", "model.bin": Sparse(b"", 75_538_270), "vocabulary.txt": b"a",
        "preprocessor_config.json": b'{"processor_class": "WhisperProcessor"}',
    }  # fmt: skip
    return {
        "makers/tiny-llama-GGUF": {"tiny-llama-Q4_K_M.gguf": llama_gguf(), **readme},
        "makers/big-llama-GGUF": {
            "big-llama-Q4_K_M.gguf": llama_gguf(48, tokens=1000, width=8192, inner=28672, kv=1024), **readme,
        },
        "makers/tiny-flux-GGUF": {"tiny-flux-Q4_0.gguf": flux, **readme},
        "makers/tiny-vision-GGUF": {"tiny-vision-Q4_K_M.gguf": llama_gguf(), "mmproj-tiny-vision-F16.gguf": projector_gguf()},
        "makers/tiny-embed-GGUF": {"tiny-embed-F16.gguf": bert(2), **readme},
        "makers/tiny-rerank-GGUF": {"tiny-rerank-F16.gguf": bert(4), **readme},
        "makers/tiny-chat": dict(transformers_repository({"num_hidden_layers": 4, "vocab_size": 128, "max_position_embeddings": 4096})),
        "Systran/faster-whisper-tiny": whisper,
        "FunAudioLLM/CosyVoice-300M": {"cosyvoice.yaml": b"", "llm.pt": Sparse(b"", 1_242_994_835), "flow.pt": Sparse(b"", 419_900_943)},
    }  # fmt: skip


def publish(server: HubServer) -> None:
    """Publish all repositories on a server."""
    for name, files in repositories().items():
        server.add("hf", name, dict(files))
