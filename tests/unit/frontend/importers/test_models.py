"""GPUStack models, compose files and llama-swap configurations."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import codes, imported, models_of, run, sample

from gslc.ir.inputs import Model, SecretRef


def model(kind: str, text: str, name: str, *hosts: str) -> Model:
    found = models_of(imported(kind, text, *hosts).text())[name]
    assert isinstance(found, Model)
    return found


def test_gpustack_models() -> None:
    outcome = run("gpustack-models", sample("gpustack-models.json"))
    assert codes(outcome) == ["GS188", "GS191", "GS191"]
    assert outcome.value is not None
    models = models_of(outcome.value.text())
    assert set(models) == {"coder", "mixtral", "old-llama", "qwen2-5-7b", "whisper"}
    stopped = model("gpustack-models", sample("gpustack-models.json"), "old-llama")
    assert (stopped.replicas, stopped.source and stopped.source.text) == (0, "ollama://llama3.1:8b")
    chat = model("gpustack-models", sample("gpustack-models.json"), "qwen2-5-7b")
    assert (chat.backend, chat.context, chat.replicas, chat.placement) == ("vllm", 8192, 2, "spread")
    assert (chat.host_selector, chat.env) == ((("zone", "east"),), (("VLLM_LOGGING_LEVEL", "WARNING"),))
    assert (chat.served_name, chat.args) == ("Qwen2.5-7B", ("--enable-prefix-caching",))
    coder = model("gpustack-models", sample("gpustack-models.json"), "coder")
    assert (coder.context, coder.parallel, coder.cpu_offload, coder.distributed) == (8192, 2, True, True)
    assert coder.gpus == (("worker-a", 0), ("worker-a", 1))
    assert coder.source is not None
    assert coder.source.path == "*q4_k_m*.gguf"


def test_a_compose_file() -> None:
    text = sample("compose-vllm-llama.yaml")
    outcome = run("compose", text, "box")
    assert codes(outcome) == ["GS188", "GS192", "GS193", "GS196"]
    assert outcome.value is not None
    assert "hf_XXXX" not in outcome.value.text()
    chat = model("compose", text, "chat", "box")
    assert (chat.backend, chat.tensor_parallel, chat.context, chat.gpu_memory_utilization) == ("vllm", 2, 16000, 850)
    assert (chat.api_key, chat.port, chat.gpus) == (SecretRef(name="chat-api-key"), 8000, (("box", 0), ("box", 1)))
    assert (chat.image, chat.served_name) == ("vllm/vllm-openai:v0.11.0", "Qwen/Qwen2.5-14B-Instruct-AWQ")
    code = model("compose", text, "code-model", "box")
    assert (code.backend, code.context, code.parallel, code.port, code.gpu_layers) == ("llama.cpp", 8192, 4, 8081, None)
    assert code.source is not None
    assert code.source.text == "file:///srv/models/qwen2.5-coder-7b-q4_k_m.gguf"


def test_devices_without_a_host_are_a_warning() -> None:
    assert "GS191" in codes(run("compose", sample("compose-vllm-llama.yaml")))


def test_a_llama_swap_configuration() -> None:
    text = sample("llama-swap-config.yaml")
    outcome = run("llama-swap", text)
    assert codes(outcome) == ["GS188", "GS191", "GS191", "GS191", "GS196"]
    said = [found.message for found in outcome.diagnostics]
    assert "qwen3-30b: CUDA_VISIBLE_DEVICES=0 is not carried over: gslc chooses the cards" in said
    qwen = model("llama-swap", text, "qwen3-30b")
    assert (qwen.context, qwen.parallel, qwen.kv_cache_type, qwen.served_name) == (8192, 2, "q8_0", "Qwen3-30B")
    embed = model("llama-swap", text, "embed")
    assert embed.source is not None
    assert (embed.source.repository, embed.source.quantization) == ("nomic-ai/nomic-embed-text-v1.5-GGUF", "Q8_0")
    vision = model("llama-swap", text, "vision")
    assert (vision.backend, vision.image, vision.context) == ("vllm", "vllm/vllm-openai:v0.11.0", 8192)


def compose(command: str, image: str = "vllm/vllm-openai:v0.11.0", **service: object) -> str:
    return json.dumps({"services": {"m": {"image": image, "command": command, **service}}})


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("--model a/b --max-model-len 8K", "context", 8192),
        ("--model=a/b --max_model_len=4096", "context", 4096),
        ("--model a/b -tp 4", "tensor_parallel", 4),
        ("--model a/b -pp 2", "pipeline_parallel", 2),
        ("--model a/b --max-num-seqs 64", "parallel", 64),
        ("--model a/b --gpu-memory-utilization .5", "gpu_memory_utilization", 500),
        ("--model a/b --served-model-name x y z", "served_name", "x"),
        ("vllm serve a/b --max-model-len 4096", "context", 4096),
        ("python3 -m vllm.entrypoints.openai.api_server --model a/b -tp 2", "tensor_parallel", 2),
        ("sh -c 'exec vllm serve a/b -tp 2'", "tensor_parallel", 2),
        ("--model a/b --max-model-len auto", "args", ("--max-model-len", "auto")),
        ("--model a/b --tensor-parallel-size=two", "args", ("--tensor-parallel-size=two",)),
        ("--model a/b --trust-remote-code --seed 7", "args", ("--trust-remote-code", "--seed", "7")),
    ],
)
def test_vllm_flags_become_keys_or_stay_arguments(command: str, key: str, value: object) -> None:
    assert getattr(model("compose", compose(command), "m"), key) == value


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("-hf a/b:Q4_K_M -c 8192", "context", 8192),
        ("-hf a/b:Q4_K_M -c 8192 -np 2", "context", 4096),
        ("-hf a/b:Q4_K_M -np 2 --ctx-size 8192", "context", 4096),
        ("-hf a/b:Q4_K_M -c 1000 -np 3", "args", ("-c", "1000")),
        ("-hf a/b:Q4_K_M -c 0", "args", ("-c", "0")),
        ("-hf a/b:Q4_K_M -c 0", "context", None),
        ("-hf a/b:Q4_K_M -ngl 99", "gpu_layers", None),
        ("-hf a/b:Q4_K_M -ngl 20", "gpu_layers", 20),
        ("-hf a/b:Q4_K_M -ts 3,1", "tensor_split", (3, 1)),
        ("-hf a/b:Q4_K_M -ts 0.5,0.5", "args", ("-ts", "0.5,0.5")),
        ("-hf a/b:Q4_K_M -ctk q8_0 -ctv q8_0", "kv_cache_type", "q8_0"),
        ("-hf a/b:Q4_K_M -ctk q8_0", "args", ("--cache-type-k", "q8_0")),
        ("-hf a/b -hff x.gguf --jinja", "args", ("--jinja",)),
        ("/app/llama-server -hf a/b:Q8_0 -a n", "served_name", "n"),
    ],
)
def test_llama_flags_become_keys_or_stay_arguments(command: str, key: str, value: object) -> None:
    text = compose(command, image="ghcr.io/ggml-org/llama.cpp:server-cuda")
    assert getattr(model("compose", text, "m"), key) == value


def test_llama_server_reads_its_environment() -> None:
    environment = {"LLAMA_ARG_HF_REPO": "a/b:Q8_0", "LLAMA_ARG_CTX_SIZE": "4096", "LLAMA_ARG_PORT": "9999"}
    found = model("compose", compose("", image="ghcr.io/ggml-org/llama.cpp:server", environment=environment), "m")
    assert (found.context, found.port, found.env) == (4096, 9999, ())


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ({"command": "--port 8000"}, "GS192"),
        ({"command": "--model ${MODEL}"}, "GS192"),
        ({"command": "--model ./here"}, "GS192"),
        ({"command": "--model /models/x"}, "GS192"),
        ({"command": "--model a/b", "environment": {"MY_API_KEY": "abc"}}, "GS193"),
        ({"command": "--model a/b --api-key abc"}, "GS193"),
        ({"command": "--model a/b", "environment": ["FROM_OUTSIDE"]}, "GS191"),
        ({"command": "--model ${X:-a/b}"}, "GS191"),
        ({"command": "--model a/b", "environment": {"LD_PRELOAD": "x.so"}}, "GS191"),
        ({"command": "--model a/b --hf-token hf_abcdefghijklmnopqrstuvwxyz"}, "GS191"),
    ],
)
def test_what_is_not_known_or_not_copied_is_said(service: dict[str, object], code: str) -> None:
    outcome = run("compose", json.dumps({"services": {"m": {"image": "vllm/vllm-openai:v0.11.0", **service}}}))
    assert code in codes(outcome)
    text = outcome.value.text() if outcome.value else ""
    assert "abc" not in text


def test_the_longest_mount_says_where_a_file_lies() -> None:
    volumes = ["/srv:/models", {"type": "bind", "source": "/fast/llm", "target": "/models/llm/"}, "named:/models/llm/x"]
    found = model("compose", compose("-m /models/llm/a.gguf", image="x/llama.cpp", volumes=volumes), "m")
    assert found.source is not None
    assert found.source.text == "file:///fast/llm/a.gguf"


def test_aliases_of_yaml_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert codes(run("compose", "\n".join(lines))) == ["GS181"]


@pytest.mark.parametrize(
    "text",
    [
        "a: *x",
        "a: [",
        "[" * 5000,
        "? [a]\n: b",
        "a: 1\na: 2",
        "%YAML 1.1\n---\na: b",
        "\x00",
        "services: 1",
        "services: {m: 1}",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["compose", "llama-swap"])
def test_other_yaml_is_refused(kind: str, text: str) -> None:
    outcome = run(kind, text)
    assert outcome.value is None
    assert outcome.diagnostics


WORDS = st.lists(
    st.sampled_from(
        [
            "--model",
            "-m",
            "-hf",
            "a/b",
            "/x",
            "-c",
            "8192",
            "0",
            "-np",
            "2",
            "-tp",
            "-ngl",
            "--api-key",
            "k",
            "'",
            '"',
            "$X",
            "${Y:-z}",
            "--",
            "=",
            "--max-model-len",
            "8k",
            "-ts",
            "1,2",
            "--alias",
            "q",
        ]
    ),
    max_size=8,
)


@settings(max_examples=80, deadline=None)
@given(
    words=WORDS, image=st.sampled_from(["vllm/vllm-openai", "ghcr.io/ggml-org/llama.cpp:server"]), text=st.booleans()
)
def test_any_command_line_gives_models_that_the_codec_takes_or_is_refused(
    words: list[str], image: str, text: bool
) -> None:
    outcome = run(
        "compose", json.dumps({"services": {"m": {"image": image, "command": " ".join(words) if text else words}}})
    )
    if outcome.value is not None:
        assert "m" in models_of(outcome.value.text())
    else:
        assert outcome.diagnostics
