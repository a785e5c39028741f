"""What running services have in common: from an understood command line and an environment to a model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gslc.engines.variables import own_variable
from gslc.frontend.importers.command_line import Engine, Line
from gslc.frontend.importers.records import Findings, ImportedModel, SecretName, Setting

SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|CREDENTIAL|(?:^|_)KEY$", re.IGNORECASE)
# What gslc sets itself on every instance: where model files and the hub's cache lie, and the port; dropping it
# changes no result.
OWN_VARIABLES = frozenset(
    {
        "HF_HOME",
        "HF_HUB_CACHE",
        "HF_HUB_OFFLINE",
        "HUGGINGFACE_HUB_CACHE",
        "NVIDIA_DRIVER_CAPABILITIES",
        "PORT",
        "TRANSFORMERS_OFFLINE",
    }
)
DEVICE_MASKS = frozenset(
    {
        "ASCEND_RT_VISIBLE_DEVICES",
        "CUDA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
    }
)
HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._-]+\Z")
_SCHEMES = ("hf://", "modelscope://", "file://", "ollama://")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")

HostPath = Callable[[str], "str | None"]  # a path inside the container -> the path on the host


def source_of(found: Findings, line: Line, host_path: HostPath, at: int) -> str | None:
    """The `source` of a model, or None with a warning."""
    written = line.file if line.file is not None else line.source
    if written is None:
        found.say("GS192", f"{line.name} is left out: its command does not say which model it serves", None, line=at)
        return None
    if "$" in written:
        found.say(
            "GS192", f"{line.name} is left out: its model {written!r} is a variable", "replace the variable", line=at
        )
        return None
    if written.startswith(_SCHEMES):
        base = written
    elif line.file is None and _REPOSITORY.match(written):
        base = f"hf://{written}"
    elif written.startswith("/"):
        lies = host_path(written)
        if lies is None:
            found.say(
                "GS192",
                f"{line.name} is left out: nothing says where its file {written!r} lies on the host",
                "write the model by hand, with source: file:///the/path/on/the/host",
                line=at,
            )
            return None
        base = f"file://{lies}"
    else:
        found.say("GS192", f"{line.name} is left out: {written!r} is no absolute path and no repository", None, line=at)
        return None
    if line.revision is not None and base.startswith("hf://"):
        base = f"{base}@{line.revision}"
    return f"{base}/{line.hf_file}" if line.hf_file is not None and base.startswith("hf://") else base


def model_of(
    found: Findings,
    line: Line,
    *,
    backend: str | None,
    source: str,
    environment: Mapping[str, Setting],
    extra: Mapping[str, Setting],
    note: str = "",
) -> ImportedModel:
    """The model with its keys in the order in which people write them."""
    settings: dict[str, Setting] = {"source": source}
    if backend is not None:
        settings["backend"] = backend
    settings.update(line.settings)
    settings.update(extra)
    if environment:
        settings["env"] = {key: value for key, value in environment.items() if isinstance(value, (str, SecretName))}
    if line.args:
        settings["args"] = tuple(line.args)
    if settings.get("served_name") == line.name:
        del settings["served_name"]
    return ImportedModel(name=line.name, settings=tuple(settings.items()), note=note)


def environment_of(
    found: Findings, model: str, given: Mapping[str, object], line: int | Callable[[str], int] = 1
) -> dict[str, Setting]:
    """The environment without what gslc sets, with secrets as references, sorted by name."""
    kept: dict[str, Setting] = {}
    at = line if callable(line) else lambda _name: line
    for name, value in sorted(given.items()):
        if name in OWN_VARIABLES or own_variable("vllm", name) is not None:
            continue
        text = "" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)
        if name in DEVICE_MASKS:
            if text not in ("", "all"):
                found.say(
                    "GS191",
                    f"{model}: {name}={text} is not carried over: gslc chooses the cards",
                    "to keep the choice, pin them: gpus: [HOST/INDEX]",
                    line=at(name),
                )
            continue
        if name in HUB_TOKENS:
            if text and not text.startswith("$"):
                found.say(
                    "GS193",
                    f"{model} has {name} in plain text; it was not copied",
                    "gslc gives the hub's token to every model that needs it",
                    line=at(name),
                )
            continue
        if SECRET_NAME.search(name):
            secret = name.lower().replace("_", "-")
            kept[name] = SecretName(secret)
            if text and not text.startswith("$"):
                found.say(
                    "GS193",
                    f"{model} has {name} in plain text; it became the secret {secret}",
                    "store the value there",
                    line=at(name),
                )
        elif value is None or _VARIABLE.search(text):
            found.say(
                "GS191",
                f"{model}: the value of {name} comes from outside the file; it is left out",
                None,
                line=at(name),
            )
        else:
            kept[name] = text
    return kept


def engine_backend(engine: Engine) -> str:
    """The backend that runs such a command line."""
    return "vllm" if engine == "vllm" else "llama.cpp"
