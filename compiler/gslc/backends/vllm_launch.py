"""The processes of an instance of vLLM: command, image, environment, times and files of each seat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gslc.engines import vllm_ray
from gslc.engines.paths import model_files, model_folder
from gslc.engines.variables import KEY_VARIABLES
from gslc.engines.vllm_command import Command, argv
from gslc.engines.vllm_versions import DEFAULT_VERSION, version_tuple
from gslc.ir.inputs import EnginePin, GpuKind, Host, Model, SecretRef, Vendor
from gslc.ir.placement import Assignment, Request
from gslc.ir.plan import Launch, Role
from gslc.memory.vllm.budget import Batch, outside_bytes
from gslc.memory.vllm.cards import effective_dtype
from gslc.memory.vllm.fit import THOUSAND, batch_of
from gslc.memory.vllm.view import View

PROGRAM = "/usr/local/bin/vllm"
IMAGES: Mapping[Vendor, tuple[str, tuple[int, int, int]]] = {
    # Image by vendor, and the first release that is published under a tag of its version.
    "nvidia": ("vllm/vllm-openai", (0, 4, 0)),
    "amd": ("vllm/vllm-openai-rocm", (0, 14, 0)),
}
LOAD_BYTES_PER_SECOND = 200_000_000  # a slow disk; a start that is given up too early loads for nothing
START_SECONDS = 600  # imports, compilation and graph capture: 142-163 s on two busy cores without a GPU
STOP_SECONDS = 60
RAY_SECONDS = 120  # Ray itself starts in 6-20 s, and a follower leaves a lost leader after 60 s to join the next one
SHARED_MEMORY_BYTES = 8 << 30  # NCCL between processes; docker's 64 MiB fails (vLLM issues 1710, 1393, 789)


def release_of(pin: EnginePin, model: Model) -> str:
    """The release that a pin or the tag of the model's own image names."""
    image = model.image
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2] if image is not None else ""
    if tag[:1] == "v" and version_tuple(tag) > (0, 0, 0):
        return tag[1:].partition("-")[0]
    return (pin.version or DEFAULT_VERSION).removeprefix("v")


def image_of(model: Model, pin: EnginePin, vendor: Vendor | None) -> str | None:
    """The image given, or the published one of the release for a vendor's cards; None where there is none."""
    given = model.image or pin.image
    if given is not None:
        return given
    entry = IMAGES.get(vendor or "nvidia")
    version = release_of(pin, model)
    if entry is None or version_tuple(version) < entry[1]:
        return None
    return f"{entry[0]}:v{version}"


def _program(path: str | None) -> str:
    """A pinned path names the program, or the folder that holds it."""
    if path is None:
        return PROGRAM
    return path if path.rpartition("/")[2].startswith("vllm") else f"{path.rstrip('/')}/vllm"


def launch_of(
    request: Request, assignment: Assignment, hosts: Mapping[str, Host], node: int, pin: EnginePin, view: View | None
) -> Launch:
    """The process of one seat, whose host has the release of `pin`; the first answers HTTP, the others belong to it."""
    model, facts = request.model, request.facts
    seat, leader_seat = assignment.seats[node], assignment.seats[0]
    host, leader = hosts[seat.host], hosts[leader_seat.host]
    cards = {gpu.index: gpu for gpu in host.gpus}
    vendor = cards[seat.gpus[0]].kind.vendor if seat.gpus else None
    several = len(assignment.seats) > 1
    by_ray = several and view is not None and view.by_ray
    role: Role = "worker" if node else "leader"
    name = f"{model.name}-{assignment.replica}"
    memory = assignment.choice.parts[node]
    files = model_files(facts, host.model_dir, model.source) if facts is not None and model.source is not None else ()
    loaded = sum(file.size_bytes for file in files)
    launch = Launch(
        name=f"{name}-worker-{node}" if node else name,
        role=role,
        rank=node,
        host=seat.host,
        program=_program(pin.path),
        argv=_argv(request, assignment, host, leader, node, release_of(pin, model), view),
        image=image_of(model, pin, vendor),
        image_entrypoint=("vllm",),
        env=_environment(model, host),
        secret_env=_secrets(model, leader=not node),
        gpus=seat.gpus,
        gpu_uuids=tuple(cards[index].uuid for index in seat.gpus),
        vendor=vendor,
        listen=host.listen,
        port=0 if node else seat.ports[0],
        extra_ports=() if node else seat.ports[1:],
        health_path=None if node else "/health",
        start_seconds=START_SECONDS + loaded // LOAD_BYTES_PER_SECOND,
        stop_seconds=STOP_SECONDS,
        group_restart=several,
        shared_memory_bytes=SHARED_MEMORY_BYTES if len(seat.gpus) > 1 or several else 0,
        memory_bytes=memory.host.total,
        model_dir=host.model_dir,
        cache_dirs=("huggingface", "triton", "vllm"),
        cache_env=(("HF_HOME", "huggingface"), ("TRITON_CACHE_DIR", "triton"), ("VLLM_CACHE_ROOT", "vllm")),
        files=files,
        jit=True,
        measures_free_memory=True,
    )
    return _under_ray(launch, leader.address or leader.listen, leader_seat.ports[1]) if by_ray else launch


def _under_ray(launch: Launch, address: str, port: int) -> Launch:
    """The launch with Ray below the server, or, for a follower, in place of it: workers then belong to Ray.

    In containers the programs are found by PATH, as the image's own entry point finds them.
    """
    variables = dict(launch.env)

    def words(vllm: str) -> tuple[str, ...]:
        node = vllm_ray.RayNode(
            program=vllm_ray.beside(vllm),
            address=variables["VLLM_HOST_IP"],
            head=f"{address}:{port}",
            gpus=len(launch.gpus),
        )
        variables.update(vllm_ray.environment(node, leader=launch.role == "leader"))
        if launch.role == "leader":
            return vllm_ray.leader_argv(node, port, vllm, launch.argv)
        return vllm_ray.follower_argv(node)

    return replace(
        launch,
        program=vllm_ray.SHELL,
        argv=words(launch.program),
        image_entrypoint=(vllm_ray.SHELL,),
        isolated_argv=words("vllm"),
        env=tuple(sorted(variables.items())),
        cache_dirs=tuple(sorted(folder for _, folder in vllm_ray.CACHES)),
        cache_env=vllm_ray.CACHES,
        start_seconds=launch.start_seconds + RAY_SECONDS,
        ends_with_leader=launch.role != "leader",
    )


def _argv(
    request: Request, assignment: Assignment, host: Host, leader: Host, node: int, version: str, view: View | None
) -> tuple[str, ...]:
    model, facts, layout = request.model, request.facts, assignment.choice.layout
    if view is None or facts is None or model.source is None:
        raise ValueError(f"{model.name}: a launch without facts")
    seat = assignment.seats[0]
    kind = next(gpu.kind for gpu in leader.gpus if gpu.index == seat.gpus[0])
    wish = view.wish(layout.context)
    batch = batch_of(view.shape, kind, wish)
    dtype = view.settings.dtype
    if dtype is None:
        effective = effective_dtype(view.shape, kind, "auto")
        dtype = "half" if effective == "float16" and view.shape.dtype not in {"float16", "half"} else None
    return argv(
        Command(
            version=version,
            model_path=model_folder(facts, host.model_dir, model.source),
            served_name=model.served_name or model.name,
            host=host.listen,
            port=0 if node else seat.ports[0],
            tensor_parallel=layout.tensor_parallel,
            pipeline_parallel=layout.pipeline_parallel,
            max_model_len=layout.context or wish.context,
            max_num_seqs=layout.parallel or batch.sequences,
            max_num_batched_tokens=batch.tokens if _says_batch(view, batch) else None,
            utilization=layout.gpu_memory_utilization or stated_utilization(view, assignment, kind),
            dtype=dtype,
            kv_cache_dtype=view.kv_cache_dtype if view.kv_cache_dtype != "auto" else None,
            runner=view.runner if view.runner == "pooling" else view.settings.runner,
            convert=view.convert,
            nodes=len(assignment.seats),
            node_rank=node,
            master_address=leader.address or leader.listen,
            master_port=seat.ports[1] if len(seat.ports) > 1 else 0,
            ray=view.by_ray,
            user=view.arguments,
            user_words=model.args,
        )
    )


def _says_batch(view: View, batch: Batch) -> bool:
    """A model that sees leaves its batch to vLLM, which raises the default until one picture fits it."""
    sees = view.shape.multimodal and not view.terms.vision_off
    return not sees or view.settings.max_num_batched_tokens is not None or batch.tokens <= batch.sequences


def stated_utilization(view: View, assignment: Assignment, kind: GpuKind) -> int:
    """Where memory was stated: the share of the card that it is, less what vLLM uses outside of its budget."""
    if isinstance(view.utilization, int):
        return view.utilization
    stated = assignment.choice.parts[0].gpus[0].total
    ranks = sum(len(seat.gpus) for seat in assignment.seats)
    inside = stated - outside_bytes(view.shape, ranks, leader=True)
    return max(1, min(THOUSAND, inside * THOUSAND // kind.memory_bytes))


def _environment(model: Model, host: Host) -> tuple[tuple[str, str], ...]:
    found = {
        "HF_HUB_OFFLINE": "1",  # the files are there; a start must not ask the hub
        "VLLM_HOST_IP": host.address or host.listen,  # else a route to a public address decides which interface is used
        "VLLM_NO_USAGE_STATS": "1",
    }
    found.update((name, value) for name, value in model.env if isinstance(value, str))
    return tuple(sorted(found.items()))


def _secrets(model: Model, *, leader: bool) -> tuple[tuple[str, str], ...]:
    found = {name: value.name for name, value in model.env if isinstance(value, SecretRef)}
    if not leader:  # it answers nobody
        found.pop(KEY_VARIABLES["vllm"], None)
    elif model.api_key is not None:
        found[KEY_VARIABLES["vllm"]] = model.api_key.name
    return tuple(sorted(found.items()))
