"""The sections `models` and `defaults`: a map -> Model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from gslc.frontend import names, sizes
from gslc.frontend.environment import read_arguments, read_command, read_environment
from gslc.frontend.fields import Fields, Problems, Scan, read_fields, read_list, read_map
from gslc.frontend.mistake import Mistake, shown
from gslc.frontend.model_sources import model_source
from gslc.frontend.requirements import read_requirements
from gslc.frontend.secrets import read_secret
from gslc.frontend.source import Mark, Node, Sequence
from gslc.ir.inputs import Model, SecretRef

GGUF_BACKENDS = ("llama-box", "llama.cpp")
MAX_REPLICAS = 10_000
MAX_PINS = 100_000

MODEL_KEYS = frozenset(
    {
        "source", "replicas", "context", "parallel", "host_selector", "cpu_offload", "distributed", "backend",
        "backend_for_gguf", "served_name", "gpus", "tensor_parallel", "pipeline_parallel", "gpu_memory_utilization",
        "gpu_layers", "tensor_split", "kv_cache_type", "placement", "anti_affinity", "exclusive_gpus", "priority",
        "port", "mmproj", "args", "env", "api_key", "image", "command", "requirements",
    }
)  # fmt: skip
# What gslc tells an engine of its own; a custom program is told in its command.
ENGINE_KEYS = (
    "backend_for_gguf", "context", "cpu_offload", "gpu_layers", "gpu_memory_utilization", "kv_cache_type", "mmproj",
    "parallel", "pipeline_parallel", "tensor_parallel", "tensor_split",
)  # fmt: skip

replica_count = sizes.whole_number(0, MAX_REPLICAS)
context_tokens = sizes.whole_number(1, 1 << 27)  # the longest published context is 10 million tokens
parallel_requests = sizes.whole_number(1, 65_536)
parallel_size = sizes.whole_number(1, 1_024)
layer_count = sizes.whole_number(0, 10_000)
split_share = sizes.whole_number(0, 1_000_000)
priority_number = sizes.whole_number(-1_000_000, 1_000_000)
port_number = sizes.whole_number(1, 65_535)
gguf_backend = names.choice(*GGUF_BACKENDS)
placement_name = names.choice("binpack", "spread")
anti_affinity_name = names.choice("host")


def read_model(name: str, fields: Fields, backends: tuple[str, ...]) -> Model:
    """The model of a map with what it inherits; its mistakes are noted, and the value is then of no use."""
    take, take_node = fields.take, fields.take_node
    backend = take("backend", names.choice(*backends), None)
    custom = backend == "custom"
    return Model(
        name=name,
        source=take("source", model_source, None),
        replicas=take("replicas", replica_count, 1),
        context=take("context", context_tokens, None),
        parallel=take("parallel", parallel_requests, None),
        host_selector=take_node("host_selector", read_selector, None),
        cpu_offload=take("cpu_offload", sizes.boolean, False),
        distributed=take("distributed", sizes.boolean, False),
        backend=backend,
        backend_for_gguf=take("backend_for_gguf", gguf_backend, "llama-box"),
        served_name=take("served_name", names.served_name, None),
        gpus=take_node("gpus", read_pins, ()),
        tensor_parallel=take("tensor_parallel", parallel_size, None),
        pipeline_parallel=take("pipeline_parallel", parallel_size, None),
        gpu_memory_utilization=cast(
            "int | Literal['auto'] | None", take("gpu_memory_utilization", sizes.utilization, None)
        ),
        gpu_layers=take("gpu_layers", layer_count, None),
        tensor_split=take_node("tensor_split", read_split, None),
        kv_cache_type=take("kv_cache_type", names.cache_type, None),
        placement=cast("Literal['binpack', 'spread']", take("placement", placement_name, "binpack")),
        anti_affinity=cast("Literal['host'] | None", take("anti_affinity", anti_affinity_name, None)),
        exclusive_gpus=take("exclusive_gpus", sizes.boolean, False),
        priority=take("priority", priority_number, 0),
        port=take("port", port_number, None),
        mmproj=take("mmproj", projector_path, None),
        args=take_node("args", read_arguments, ()),
        env=take_node("env", environment_reader(custom), ()),
        api_key=take_node("api_key", read_secret, None),
        image=take("image", names.image, None),
        command=take_node("command", read_command, ()),
        requirements=take_node("requirements", read_requirements, ()),
    )


def environment_reader(templates: bool) -> Callable[[Scan, Node, Mark, str], tuple[tuple[str, str | SecretRef], ...]]:
    """The reader of `env`, which knows placeholders for custom programs only."""
    return lambda scan, node, mark, label: read_environment(scan, node, mark, label, templates=templates)


def read_selector(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[tuple[str, str], ...]:
    """The pairs that a host's labels must hold, sorted."""
    return tuple(sorted(read_map(scan, node, mark, label, names.label_key, names.label_value).items()))


def read_pins(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[tuple[str, int], ...]:
    """The GPUs that a model's replicas may use, sorted."""
    pins = read_list(scan, node, mark, label, names.gpu_pin, MAX_PINS)
    if isinstance(node, Sequence) and not node:
        scan.refuse(mark, "GS133", f"{label} is an empty list", "name cards, e.g. [atlas/0], or remove the key")
    if len(set(pins)) < len(pins):
        twice = next(pin for number, pin in enumerate(pins) if pin in pins[:number])
        scan.refuse(mark, "GS170", f"{label} names {twice[0]}/{twice[1]} twice", "name each card once")
    return tuple(sorted(pins))


def read_split(scan: Scan, node: Node, mark: Mark, label: str) -> tuple[int, ...]:
    """How the layers are shared out over the devices, in the engine's device order."""
    shares = read_list(scan, node, mark, label, split_share, 1_024)
    if (isinstance(node, Sequence) and shares == ()) or (shares and not any(shares)):
        scan.refuse(mark, "GS137", f"{label} gives no device a share", "write one number a device, e.g. [3, 1]")
    return shares


def projector_path(text: str, quoted: bool) -> str | Mistake:
    """A file or glob beside the model's own files (an absolute path for file:// sources)."""
    read = names.line(text, quoted)
    if isinstance(read, Mistake):
        return read
    if "\\" in text or any(part in ("", ".", "..") for part in text.removeprefix("/").split("/")):
        return Mistake(
            code="GS145",
            message=f"wants a file of the model's repository, not {shown(text)}",
            help="write it like mmproj-*.gguf",
        )
    return text


# ------------------------------------------------------------------ keys that depend on each other


def check_model(name: str, fields: Fields, model: Model) -> None:
    """Note the keys of a model that don't go together."""
    if model.backend == "custom":
        check_custom(fields, model)
        return
    if not fields.has("source"):
        fields.miss("source", f"model {name} has no source", "write where it is: source: hf://owner/repository")
    needs_custom = "only a model with backend: custom has a command"
    if fields.has("command"):
        fields.refuse(
            "command",
            "GS173",
            f"{fields.label('command')} would not be run: {needs_custom}",
            "use args, or backend: custom",
        )
    if any(
        requirement.command or any(part.command for part in requirement.parts) for requirement in model.requirements
    ):
        message = f"{fields.label('requirements')} hold a command: {needs_custom}"
        fields.refuse("requirements", "GS173", message, "use args, or backend: custom")
    check_split(fields, model)


def check_custom(fields: Fields, model: Model) -> None:
    """Note what a custom program lacks, and keys that only gslc's own engines understand."""
    for key in ENGINE_KEYS:
        if key in fields.entries:
            message = f"{fields.label(key)} means nothing to a custom program"
            fields.refuse(key, "GS173", message, "say it in command, and what it needs in requirements")
    if not fields.has("requirements"):
        message = f"{fields.owner} is custom and states no requirements"
        action = "state its memory: requirements: [{gpus: 1, gpu_memory: 3GiB, memory: 1GiB}]"
        fields.miss("requirements", message, action)
    whole = (
        all(r.command or all(part.command for part in r.parts) for r in model.requirements)
        if model.requirements
        else False
    )
    if not model.command and not model.image and not whole and not fields.has("command"):
        message = f"{fields.owner} is custom and has neither command nor image"
        fields.miss("command", message, "write what to run: command: [program, --port, '{port}']")
    uses_model = any("{model}" in word for word in all_words(model))
    if uses_model and model.source is None and not fields.has("source"):
        message = f"{fields.owner} uses {{model}} but has no source"
        fields.miss("source", message, "write source: hf://owner/repository")


def all_words(model: Model) -> tuple[str, ...]:
    """Every text of a custom model in which a placeholder can stand."""
    words = [*model.command, *(value for _, value in model.env if isinstance(value, str))]
    for requirement in model.requirements:
        words += requirement.command or ()
        for part in requirement.parts:
            words += part.command or ()
    return tuple(words)


def check_split(fields: Fields, model: Model) -> None:
    """Note a layer split where no layer is on a GPU."""
    if model.tensor_split is not None and model.gpu_layers == 0:
        message = f"{fields.label('tensor_split')} splits layers over GPUs, but gpu_layers is 0"
        fields.refuse("tensor_split", "GS173", message, "remove one of the two")


def read_defaults(scan: Scan, node: Node, mark: Mark, backends: tuple[str, ...]) -> Fields:
    """The keys of `defaults`; the wrong ones are noted here, once, and hidden from the models."""
    fields = read_fields(scan, node, mark, "defaults", MODEL_KEYS)
    before = len(scan.problems.found)
    read_model("defaults", fields, backends)
    if len(scan.problems.found) == before:
        return fields
    good = {}
    for key, entry in fields.entries.items():
        trial = Scan(scan.document, Problems())
        read_model("defaults", Fields(trial, "defaults", {key: entry}, mark), backends)
        if key in MODEL_KEYS and not trial.problems.found:
            good[key] = entry
    return Fields(scan, "defaults", good, mark, hidden=frozenset(fields.entries.keys() - good.keys()))
