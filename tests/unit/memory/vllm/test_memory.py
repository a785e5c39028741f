"""Weights, cache and budget: the laws behind the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.support.vllm_models import CONFIGS, H200, RTX_4090, files_of

from gslc.ir.facts import Json, TensorGroup
from gslc.ir.inputs import GpuKind
from gslc.memory.vllm.budget import default_batch, requested_bytes
from gslc.memory.vllm.context import default_context, derived_max_tokens
from gslc.memory.vllm.fit import Fit, Wish, fit
from gslc.memory.vllm.kv import CachePool, cache_pool
from gslc.memory.vllm.legality import Terms
from gslc.memory.vllm.shape import read_shape
from gslc.memory.vllm.weights import rank_weights, stage_layers

LLAMA, QWEN = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct"
GEMMA, OSS = "google/gemma-2-9b-it", "openai/gpt-oss-20b"
A100 = GpuKind(model="NVIDIA A100-SXM4-80GB", vendor="nvidia", memory_bytes=79 << 30, compute_capability=(8, 0))
DENSE = (LLAMA, QWEN, GEMMA, "Qwen/Qwen3-0.6B", "mistralai/Mistral-Nemo-Instruct-2407")


def pool(name: str, tensor: int = 1, layers: tuple[int, ...] | None = None, **options: object) -> CachePool:
    shape = read_shape(files_of(name))
    return cache_pool(shape, layers or tuple(range(shape.layers)), tensor, value_bytes=2, **options)  # type: ignore[arg-type]


def counted(name: str, kind: GpuKind, tensor: int = 1, stages: int = 1, **wish: object) -> Fit:
    files = files_of(name)
    asked = Wish(**{"context": 8192, "terms": Terms(version="0.26.0"), **wish})  # type: ignore[arg-type]
    return fit(files, read_shape(files), (kind,) * (tensor * stages), tensor, stages, asked)


# ------------------------------------------------------------------ weights


@given(st.integers(1, 200), st.integers(1, 12))
def test_stages_share_all_layers_in_order_and_never_more_than_one_apart(layers: int, stages: int) -> None:
    parts = stage_layers(layers, stages)
    assert [layer for part in parts for layer in part] == list(range(layers))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_three_stages_hold_what_the_real_layers_held() -> None:
    held = [stage.total_bytes for stage in rank_weights(read_shape(files_of(LLAMA)), 1, 3)]
    assert (held[0], held[2]) == (5_849_137_152, 5_412_921_344)


def test_a_tied_embedding_is_on_the_first_and_on_the_last_stage() -> None:
    small = "Qwen/Qwen2.5-0.5B-Instruct"
    assert rank_weights(read_shape(files_of(small)), 1)[0].total_bytes == 988_065_536
    assert [stage.total_bytes for stage in rank_weights(read_shape(files_of(small)), 1, 2)] == [
        630_166_528,
        630_168_320,
    ]


def test_awq_weights_are_those_of_the_real_layers() -> None:
    quantised: Json = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}
    shape = read_shape(files_of(QWEN, quantization_config=quantised))
    assert rank_weights(shape, 1)[0].total_bytes == 5_570_747_392


@given(st.sampled_from(sorted(CONFIGS)), st.sampled_from([1, 2, 4, 8]), st.integers(1, 4))
def test_all_ranks_together_hold_at_least_the_model(name: str, tensor: int, stages: int) -> None:
    shape = read_shape(files_of(name))
    whole = rank_weights(shape, 1)[0].total_bytes
    parts = rank_weights(shape, tensor, stages)
    assert sum(stage.total_bytes for stage in parts) * tensor >= whole


# ------------------------------------------------------------------ cache


def test_bytes_per_token_by_class() -> None:
    assert pool(LLAMA).growing_token_bytes == 131_072
    assert pool(LLAMA, 16).growing_token_bytes == 16_384
    assert pool("deepseek-ai/DeepSeek-V2-Lite", 2).growing_token_bytes == 27 * 576 * 2
    assert pool(LLAMA, cache_dtype="fp8").growing_token_bytes == 65_536
    assert pool(GEMMA).growing_token_bytes == 21 * 8192


def test_a_window_stops_growing_and_the_full_layers_do_not() -> None:
    hybrid = pool(OSS)
    short, long = (hybrid.request_bytes(tokens, 2048) for tokens in (65_536, 131_072))
    assert long - short == 65_536 // 16 * hybrid.block_bytes
    windowed = pool("microsoft/Phi-3-mini-4k-instruct")
    assert windowed.request_bytes(8_192, 1024) == windowed.request_bytes(80_000, 1024)


def test_without_the_hybrid_manager_windows_cost_like_full_layers() -> None:
    assert pool(OSS, hybrid=False).growing_token_bytes == 2 * pool(OSS).growing_token_bytes


def test_one_block_is_kept_back() -> None:
    plain = pool(LLAMA)
    need = plain.request_bytes(8192, 4096)
    assert not plain.fits(need, 8192, 4096)
    assert plain.fits(need + plain.block_bytes, 8192, 4096)


@given(st.sampled_from([LLAMA, GEMMA, OSS]), st.integers(0, 40 << 30), st.integers(1, 200_000))
def test_the_longest_context_fits_and_the_next_does_not(name: str, pool_bytes: int, ceiling: int) -> None:
    cache = pool(name)
    longest = cache.longest(pool_bytes, ceiling, 4096)
    assert longest == 0 or cache.fits(pool_bytes, longest, 4096)
    assert longest == ceiling or not cache.fits(pool_bytes, longest + 1, 4096)


# ------------------------------------------------------------------ budget


def test_batch_defaults_go_by_the_card() -> None:
    assert default_batch(H200, 8192, version="0.26.0").tokens == 8192
    assert default_batch(H200, 8192, version="0.26.0").sequences == 1024
    assert default_batch(A100, 8192, version="0.26.0").tokens == 2048
    assert default_batch(RTX_4090, 8192, version="0.26.0").sequences == 256
    assert default_batch(H200, 4, version="0.26.0").tokens == 4096


@given(st.integers(1, 1 << 40), st.integers(1, 1000))
def test_requested_memory_is_rounded_up_as_the_engine_does(total: int, share: int) -> None:
    asked = requested_bytes(total, share)
    assert 0 <= asked * 1000 - total * share < 1000


def test_the_default_utilisation_is_nine_tenths_for_every_release() -> None:
    for version in ("0.10.2", "0.26.0", "0.32.0"):
        assert counted(LLAMA, RTX_4090, terms=Terms(version=version)).utilization == 900


def test_it_is_lowered_in_hundredths_where_nccl_would_not_fit_beside_it() -> None:
    pair = counted(QWEN, RTX_4090, 2)
    assert pair.lowered_from == 900
    assert pair.utilization % 10 == 0
    assert all(rank.requested + rank.outside <= RTX_4090.memory_bytes for rank in pair.ranks)
    more = counted(QWEN, RTX_4090, 2, utilization=pair.utilization + 10)
    assert not more.starts


def test_auto_asks_for_what_the_requests_need_and_no_thousandth_more() -> None:
    auto = counted(LLAMA, RTX_4090, utilization="auto", parallel=2)
    assert auto.starts
    assert auto.concurrency >= 2
    assert counted(LLAMA, RTX_4090, utilization=auto.utilization - 1, parallel=2).concurrency < 2


def test_a_stated_pool_replaces_the_utilisation() -> None:
    stated = counted(LLAMA, RTX_4090, pool_bytes=2 << 30)
    assert stated.ranks[0].pool == 2 << 30
    assert stated.starts
    assert not counted(LLAMA, RTX_4090, pool_bytes=1 << 30).starts


@given(st.sampled_from(DENSE), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.integers(64, 131_072))
def test_a_longer_context_never_fits_where_a_shorter_one_does_not(
    name: str, tensor: int, stages: int, context: int
) -> None:
    limits: dict[str, object] = {"parallel": 64, "batched_tokens": 2048}
    here = counted(name, RTX_4090, tensor, stages, context=context, **limits)
    longer = counted(name, RTX_4090, tensor, stages, context=context + 1024, **limits)
    assert here.starts or not longer.starts
    assert here.starts == (here.longest(context) == context)


# ------------------------------------------------------------------ context


def test_the_derived_length_follows_the_files() -> None:
    assert derived_max_tokens(files_of(LLAMA), "0.26.0") == 131_072
    assert derived_max_tokens(files_of("CohereForAI/c4ai-command-r-v01"), "0.26.0") == 131_072
    assert derived_max_tokens(files_of("deepseek-ai/DeepSeek-V2-Lite"), "0.26.0") == 163_840
    assert derived_max_tokens(files_of("tiiuae/falcon-7b"), "0.26.0") == 2048
    assert default_context(files_of(LLAMA), "0.26.0") == 8192
    assert default_context(files_of("01-ai/Yi-34B"), "0.26.0") == 4096


def test_yarn_multiplied_until_it_did_not() -> None:
    scaling: Json = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    assert derived_max_tokens(files_of(QWEN, rope_scaling=scaling), "0.26.0") == 131_072
    assert derived_max_tokens(files_of(QWEN, rope_scaling=scaling), "0.32.0") == 32_768


# ------------------------------------------------------------------ the tensor table


def table(name: str) -> tuple[TensorGroup, ...]:
    """The tensor table of a published Qwen2, as its files hold it."""
    config = CONFIGS[name]
    hidden, inter, layers = (int(str(config[key])) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    blocks, keys = tuple(range(layers)), 4 * 128
    shapes: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (hidden, hidden), "self_attn.q_proj.bias": (hidden,),
        "self_attn.k_proj.weight": (keys, hidden), "self_attn.k_proj.bias": (keys,),
        "self_attn.v_proj.weight": (keys, hidden), "self_attn.v_proj.bias": (keys,),
        "self_attn.o_proj.weight": (hidden, hidden), "mlp.gate_proj.weight": (inter, hidden),
        "mlp.up_proj.weight": (inter, hidden), "mlp.down_proj.weight": (hidden, inter),
        "input_layernorm.weight": (hidden,), "post_attention_layernorm.weight": (hidden,),
    }  # fmt: skip
    ends = {
        "model.embed_tokens.weight": (152_064, hidden),
        "model.norm.weight": (hidden,),
        "lm_head.weight": (152_064, hidden),
    }
    return (
        *(
            TensorGroup(name=f"model.layers.{{}}.{key}", type="BF16", shape=size, blocks=blocks)
            for key, size in shapes.items()
        ),
        *(TensorGroup(name=key, type="BF16", shape=size) for key, size in ends.items()),
    )


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 4))
def test_files_and_configuration_say_the_same_of_every_rank(tensor: int, stages: int) -> None:
    plain = files_of(QWEN)
    listed = files_of(QWEN, table(QWEN))
    shape = read_shape(plain)
    for files in (plain, listed):
        held = fit(
            files, shape, (H200,) * (tensor * stages), tensor, stages, Wish(context=4096, terms=Terms(version="0.26.0"))
        )
        expected = rank_weights(shape, tensor, stages)
        assert [held.ranks[stage * tensor].weights for stage in range(stages)] == [
            item.total_bytes for item in expected
        ]
