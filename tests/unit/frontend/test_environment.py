"""args, env, command, secrets, requirements: what may be passed to an engine."""

from __future__ import annotations

import pytest
from clusters import SMALLEST, cluster_of, only_mistake, read_text, with_model
from hypothesis import given
from hypothesis import strategies as st

from gslc.frontend.environment import PLACEHOLDERS, variable
from gslc.frontend.mistake import Mistake
from gslc.frontend.tokens import looks_secret, redacted
from gslc.ir.inputs import Requirement, RequirementPart

HF = "hf_" + "a" * 34


def custom(keys: str) -> str:
    return f"{SMALLEST}models: {{rerank: {{backend: custom, {keys}}}}}\n"


@pytest.mark.parametrize(
    "name",
    [
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "ASCEND_RT_VISIBLE_DEVICES",
        "ASCEND_VISIBLE_DEVICES",
        "ASCEND_DEVICE_VISIBLE",
        "CUDA_DEVICE_ORDER",
        "ZE_AFFINITY_MASK",
        "ONEAPI_DEVICE_SELECTOR",
        "MUSA_VISIBLE_DEVICES",
        "GGML_VK_VISIBLE_DEVICES",
        "cuda_visible_devices",
    ],
)
def test_variables_that_override_the_placement_are_refused(name: str) -> None:
    answer = variable(name, True)
    assert isinstance(answer, Mistake)
    assert answer.code == "GS161"


@pytest.mark.parametrize(
    "name",
    ["LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PATH", "Path", "BASH_ENV", "DYLD_INSERT_LIBRARIES"],
)
def test_variables_that_load_other_code_are_refused(name: str) -> None:
    answer = variable(name, True)
    assert isinstance(answer, Mistake)
    assert answer.code == "GS162"


@pytest.mark.parametrize("name", ["", "A B", "A=B", "1A", "A-B", "A\n", "Ä", "A" * 129, "A.B"])
def test_what_names_no_variable_is_refused(name: str) -> None:
    answer = variable(name, True)
    assert isinstance(answer, Mistake)
    assert answer.code == "GS163"


@pytest.mark.parametrize(
    "name", ["VLLM_LOGGING_LEVEL", "OMP_NUM_THREADS", "http_proxy", "MODEL_PATH", "MAX_TOKENS", "_", "NCCL_DEBUG"]
)
def test_other_variables_are_the_users_own(name: str) -> None:
    assert variable(name, False) == name


@pytest.mark.parametrize(
    "text",
    [HF, "sk-proj-" + "a" * 20, "ghp_" + "a" * 36, "AKIA" + "A" * 16, "nvapi-" + "a" * 20, "x=" + HF, "https://u:secret@host/x"],
)  # fmt: skip
def test_a_literal_token_is_seen_and_never_shown(text: str) -> None:
    assert looks_secret(text)
    assert text not in redacted(f"a {text} b")
    assert len(redacted(text)) == len(text)
    for keys in (
        f"args: ['{text}']",
        f"env: {{A: '{text}'}}",
        f"api_key: '{text}'",
        f"served_name: '{text}'",
        f"'{text}': 1",
        f"image: '{text}'",
    ):
        for diagnostic in read_text(with_model(keys)).diagnostics:
            assert text not in f"{diagnostic.message} {diagnostic.help}"


@pytest.mark.parametrize(
    "text", ["hf://a/b", "sk-1", "--api", "hf_transfer", "user@host", "a:b@c", "http://host:80/x@y"]
)
def test_ordinary_text_is_no_token(text: str) -> None:
    assert not looks_secret(text)


@pytest.mark.parametrize("keys", [
    f"args: [{HF}]", "args: [--api-key, x]", "args: ['--api-key=x']", "args: [--hf-token, x]", "env: {HF_TOKEN: abc}",
    "env: {OPENAI_API_KEY: abc}", "env: {DB_PASSWORD: abc}", f"env: {{A: {HF}}}", "api_key: abc",
])  # fmt: skip
def test_a_secret_is_named_never_written(keys: str) -> None:
    mistakes = [diagnostic for diagnostic in read_text(with_model(keys)).diagnostics if diagnostic.code == "GS160"]
    assert mistakes
    assert all("{secret: name}" in (mistake.help or "") for mistake in mistakes)


@pytest.mark.parametrize(
    "keys", ["api_key: {secret: A_B}", "api_key: {secrt: a}", "api_key: {}", "env: {A: {secret: [x]}}"]
)
def test_a_reference_to_a_secret_is_checked(keys: str) -> None:
    assert read_text(with_model(keys)).value is None


@pytest.mark.parametrize("item", ['"a\\nb"', '"a\\tb"', "[x]", "{a: b}", "~", ""])
def test_an_argument_is_text_of_one_line(item: str) -> None:
    assert read_text(with_model(f"args: [{item} , b]")).value is None or item == ""


def test_arguments_of_engines_may_hold_braces() -> None:
    (model,) = cluster_of(with_model("""args: ['{"a": 1}'], env: {A: '{x}'}""")).models
    assert (model.args, model.env) == (('{"a": 1}',), (("A", "{x}"),))


@pytest.mark.parametrize(
    "text", ["{prt}", "{", "}", "{}", "{{port}}", "{port", "${HOME}", '{"a": 1}', "{Port}", "{port }"]
)
def test_braces_in_a_custom_command_are_placeholders(text: str) -> None:
    for keys in (f"command: [a, '{text}']", f"command: [a], env: {{A: '{text}'}}"):
        assert only_mistake(custom(f"{keys}, requirements: [{{memory: 1GiB}}]")).code == "GS164"


@pytest.mark.parametrize("word", PLACEHOLDERS)
def test_every_placeholder_is_taken(word: str) -> None:
    keys = f"source: hf://a/b, command: [a, 'x{{{word}}}y'], env: {{A: '{{{word}}}'}}, requirements: [{{memory: 1GiB}}]"
    (model,) = cluster_of(custom(keys)).models
    assert model.command == ("a", f"x{{{word}}}y")


def test_a_mistyped_placeholder_gets_the_nearest() -> None:
    mistake = only_mistake(custom("command: [a, '{prt}'], requirements: [{memory: 1GiB}]"))
    assert mistake.help == "did you mean {port}?"


# ------------------------------------------------------------------ custom programs and requirements


def test_requirements_have_three_forms() -> None:
    keys = (
        "command: [a], requirements: [{gpus: 1, gpu_memory: 3GiB, memory: 1GiB}, {memory: 6GiB, offload: 3GiB},"
        " {parts: [{gpus: 4, gpu_memory: 70GiB}, {gpus: 4, gpu_memory: 70GiB, command: [b]}]}]"
    )
    (model,) = cluster_of(custom(keys)).models
    gib = 1 << 30
    assert model.requirements == (
        Requirement(parts=(RequirementPart(gpus=1, gpu_memory_bytes=3 * gib, memory_bytes=gib),)),
        Requirement(parts=(RequirementPart(memory_bytes=6 * gib, offload_bytes=3 * gib),)),
        Requirement(
            parts=(
                RequirementPart(gpus=4, gpu_memory_bytes=70 * gib),
                RequirementPart(gpus=4, gpu_memory_bytes=70 * gib, command=("b",)),
            )
        ),
    )


@pytest.mark.parametrize(
    "alternative",
    ["{}", "{gpus: 1}", "{gpu_memory: 1GiB}", "{gpus: 0, gpu_memory: 1GiB}", "{memory: 1GiB, offload: 2GiB}", "{memory: 0}",
     "{gpus: 0}", "{parts: []}", "{parts: [{gpus: 1}]}", "{parts: [{memory: 1GiB}], gpus: 1}", "{parts: [{}]}"],
)  # fmt: skip
def test_requirements_that_do_not_add_up_are_refused(alternative: str) -> None:
    found = read_text(custom(f"command: [a], requirements: [{alternative}]")).diagnostics
    assert {diagnostic.code for diagnostic in found} == {"GS174"}


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ("command: [a]", "GS131"),
        ("requirements: [{memory: 1GiB}]", "GS131"),
        ("command: [], requirements: [{memory: 1GiB}]", "GS133"),
        ("command: [a, '{model}'], requirements: [{memory: 1GiB}]", "GS131"),
        ("command: [a], requirements: []", "GS174"),
        ("command: [a], requirements: [{memory: 1GiB}], context: 8192", "GS173"),
        ("command: [a], requirements: [{memory: 1GiB}], tensor_parallel: 2", "GS173"),
        ("command: [a], requirements: [{memory: 1GiB}], gpu_layers: 2", "GS173"),
    ],
)
def test_a_custom_program_says_what_it_needs_and_nothing_else(keys: str, code: str) -> None:
    assert code in {diagnostic.code for diagnostic in read_text(custom(keys)).diagnostics}


def test_a_custom_program_may_be_an_image_alone() -> None:
    assert cluster_of(custom("image: a/b:1, requirements: [{memory: 1GiB}]")).models[0].command == ()


def test_defaults_for_other_engines_do_not_hurt_a_custom_program() -> None:
    text = custom("command: [a], requirements: [{memory: 1GiB}]") + "defaults: {context: 8192, cpu_offload: true}\n"
    assert read_text(text).value is not None


def test_a_command_without_a_custom_backend_is_refused() -> None:
    assert only_mistake(with_model("command: [a]")).code == "GS173"
    assert only_mistake(with_model("requirements: [{memory: 1GiB, command: [a]}]")).code == "GS173"


@given(st.text(max_size=40))
def test_any_argument_is_kept_or_refused(text: str) -> None:
    import json

    quoted = json.dumps(text)
    outcome = read_text(with_model(f"args: [{quoted}]"))
    if outcome.value is not None:
        assert outcome.value.models[0].args == (text,)
