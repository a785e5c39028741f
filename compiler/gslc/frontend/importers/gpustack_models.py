"""GPUStack's models -> models of cluster.yaml."""

from __future__ import annotations

from gslc.frontend.importers.command_line import Line, read_line
from gslc.frontend.importers.foreign import as_list, as_map, integer_of, member, read_json, text_of
from gslc.frontend.importers.names import free_name, legal_name
from gslc.frontend.importers.records import Findings, Setting
from gslc.frontend.importers.services import environment_of, model_of

MODELS_COMMAND = "GPUStack's /v1/models or /v2/models"
_BACKENDS = {"llama-box": "llama-box", "vllm": "vllm", "vox-box": "vox-box", "voxbox": "vox-box"}
_NOT_CARRIED = (
    "speculative_config",
    "lora_list",
    "extended_kv_cache",
    "scaling_schedule",
    "backend_version",
    "run_command",
)


def gpustack_models(found: Findings, text: str) -> None:
    """The models of a GPUStack server, 0.x or 2.x."""
    value = read_json(text, MODELS_COMMAND)
    taken: set[str] = set()
    for row in as_list(value) or as_list(member(value, "items")):
        foreign = text_of(row, "name")
        if foreign is None:
            continue
        source = _source(row)
        if source is None:
            found.say("GS192", f"{foreign} is left out: its source {text_of(row, 'source')!r} has no counterpart")
            continue
        replicas = integer_of(row, "replicas")
        name = free_name(found, "model", foreign, taken)
        backend = _backend(found, name, row)
        words = [word for item in as_list(member(row, "backend_parameters")) for word in str(item).split(" ", 1)]
        line = read_line(found, name, "llama.cpp" if backend in (None, "llama-box") else "vllm", words)
        if backend not in (None, "llama-box", "vllm"):
            line = Line(name=name, engine="vllm", args=words)
        line.settings.setdefault("served_name", foreign)
        for key in _NOT_CARRIED:
            if member(row, key):
                found.say("GS191", f"{name}: {key} is not carried over", "add it by hand where gslc has a key for it")
        found.models.append(
            model_of(
                found,
                line,
                backend=backend,
                source=source,
                environment=environment_of(found, name, as_map(member(row, "env"))),
                extra=_extra(found, name, row, replicas),
                note=text_of(row, "description") or "",
            )
        )


def _source(row: object) -> str | None:
    """The source as one address; GPUStack keeps no revision."""
    kind = text_of(row, "source")
    if kind == "huggingface":
        return _joined("hf", text_of(row, "huggingface_repo_id"), text_of(row, "huggingface_filename"))
    if kind == "model_scope":
        return _joined("modelscope", text_of(row, "model_scope_model_id"), text_of(row, "model_scope_file_path"))
    if kind == "ollama_library":
        return _joined("ollama", text_of(row, "ollama_library_model_name"), None)
    path = text_of(row, "local_path")
    return f"file://{path}" if kind == "local_path" and path is not None and path.startswith("/") else None


def _joined(scheme: str, repository: str | None, file: str | None) -> str | None:
    if repository is None:
        return None
    return f"{scheme}://{repository}/{file}" if file is not None else f"{scheme}://{repository}"


def _backend(found: Findings, name: str, row: object) -> str | None:
    written = text_of(row, "backend")
    backend = _BACKENDS.get((written or "").lower())
    if written is not None and backend is None:
        found.say(
            "GS191",
            f"{name} runs on {written}, which gslc has no backend for; the backend is left to gslc",
            "or use backend: custom",
        )
    return backend


def _extra(found: Findings, name: str, row: object, replicas: int | None) -> dict[str, Setting]:
    extra: dict[str, Setting] = {}
    if replicas is not None and replicas != 1:  # 0: stopped in GPUStack, kept but not placed here
        extra["replicas"] = replicas
    if member(row, "cpu_offloading") is True:
        extra["cpu_offload"] = True
    if member(row, "distributed_inference_across_workers") is True:
        extra["distributed"] = True
    if text_of(row, "placement_strategy") in ("spread", "binpack"):
        extra["placement"] = str(text_of(row, "placement_strategy"))
    selector = {key: value for key, value in as_map(member(row, "worker_selector")).items() if isinstance(value, str)}
    if "worker-name" in selector:
        selector["host"] = legal_name(found, "worker", selector.pop("worker-name"))
    if selector:
        extra["host_selector"] = dict(sorted(selector.items()))
    pins: list[str] = []
    for item in as_list(member(row, "gpu_selector", "gpu_ids")):
        worker, _, rest = str(item).rpartition(":")
        worker = worker.rpartition(":")[0]  # worker:device:index, and the worker's name may hold colons
        if worker and rest.isascii() and rest.isdigit() and len(rest) < 4:
            pins.append(f"{legal_name(found, 'worker', worker)}/{int(rest)}")
    if pins:
        extra["gpus"] = tuple(pins)
    if text_of(row, "image_name") is not None:
        extra["image"] = str(text_of(row, "image_name"))
    return extra
