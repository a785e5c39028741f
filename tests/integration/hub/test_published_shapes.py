"""Checkpoints with the shapes of published models, served as sparse files: their bytes are those that were published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_server import HubServer
from model_files import Tensor, safetensors
from sources import model
from transformer_shapes import tensor_table

from gslc.edges.facts import fetch_facts
from gslc.edges.tensor_groups import expand
from gslc.ir.facts import SafetensorsFacts

CONFIGS = json.loads((Path(__file__).parents[2] / "data" / "truth" / "vllm_configs.json").read_text(encoding="utf-8"))[
    "configs"
]

# Parameters as the models' pages on Hugging Face count them.
PARAMETERS = {
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.1-405B-Instruct": 405_853_388_800,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-2-13b-hf": 13_015_864_320,
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": 1_100_048_384,
    "01-ai/Yi-34B": 34_388_917_248,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-30B-A3B": 30_532_122_624,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "mistralai/Mistral-Nemo-Instruct-2407": 12_247_782_400,
    "mistralai/Mixtral-8x22B-v0.1": 140_620_634_112,
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/gemma-2-27b-it": 27_227_128_320,
    "google/gemma-3-1b-it": 999_885_952,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "deepseek-ai/DeepSeek-V2-Lite": 15_706_484_224,
    "tiiuae/falcon-7b": 7_217_189_760,
    "CohereForAI/c4ai-command-r-v01": 34_980_831_232,
}
# MXFP4: half a byte a weight and a byte for each 32; the rest in BF16.
MXFP4 = {"openai/gpt-oss-20b": (20_914_757_184, 24, 32), "openai/gpt-oss-120b": (116_829_156_672, 36, 128)}


def served(name: str, shards: int = 2) -> tuple[SafetensorsFacts, list[Tensor], int]:
    """The facts of the model, its tensors, and the bytes that were sent to learn them."""
    tensors = list(tensor_table(CONFIGS[name]))
    step = -(-len(tensors) // shards)
    files = {"config.json": json.dumps(CONFIGS[name]).encode()}
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = tensors[number * step : (number + 1) * step]
        files[file] = safetensors(part)  # type: ignore[assignment]
        weight_map.update(dict.fromkeys((tensor[0] for tensor in part), file))
    files["model.safetensors.index.json"] = json.dumps({"weight_map": weight_map}).encode()
    with HubServer() as hub:
        hub.add("hf", name, files)  # type: ignore[arg-type]
        outcome = fetch_facts(model(f"hf://{name}"), hub.settings())
        assert outcome.value is not None, outcome.diagnostics
        assert outcome.value.safetensors is not None
        return outcome.value.safetensors, tensors, hub.bytes_sent


@pytest.mark.parametrize("name", PARAMETERS)
def test_weight_bytes_are_the_published_parameters_times_two(name: str) -> None:
    facts, tensors, sent = served(name)
    assert facts.parameter_bytes == 2 * PARAMETERS[name]
    assert sorted(expand(facts.tensors)) == sorted((tensor, kind, shape) for tensor, shape, kind in tensors)
    assert sent < 8 << 20


@pytest.mark.parametrize("name", MXFP4)
def test_weight_bytes_of_mxfp4_are_half_a_byte_and_a_scale(name: str) -> None:
    parameters, layers, experts = MXFP4[name]
    width = 2880
    quantised = layers * experts * 3 * width * width
    facts, _, _ = served(name)
    assert facts.parameter_bytes == quantised // 2 + quantised // 32 + 2 * (parameters - quantised)


def test_thousands_of_experts_are_a_few_groups() -> None:
    facts, tensors, _ = served("Qwen/Qwen3-30B-A3B")
    assert len(tensors) > 18_000
    assert len(facts.tensors) < 20
    assert {(group.blocks, group.experts) for group in facts.tensors if "experts" in group.name} == {
        (tuple(range(48)), 128)
    }
