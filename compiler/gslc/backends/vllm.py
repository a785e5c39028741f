"""vLLM: repositories of safetensors on GPUs of one kind, over hosts by its own multi-node start or by Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gslc.engines import vllm_ray
from gslc.engines.containers import runs_containers
from gslc.engines.paths import model_files, model_folder
from gslc.engines.pins import resolve_pin
from gslc.engines.vllm_command import Command, argv
from gslc.engines.vllm_versions import DEFAULT_VERSION, version_tuple
from gslc.ir.diagnostic import Diagnostic, Excluded
from gslc.ir.inputs import EnginePin, GpuKind, Host, Model, SecretRef, Vendor
from gslc.ir.placement import Assignment, Choice, HostClass, Options, Request
from gslc.ir.plan import Launch, Layout, Role
from gslc.memory.stated import stated_options
from gslc.memory.vllm.budget import Batch, outside_bytes
from gslc.memory.vllm.cards import effective_dtype
from gslc.memory.vllm.fit import THOUSAND, batch_of
from gslc.memory.vllm.options import Asker, vllm_options
from gslc.memory.vllm.review import keys_of, review_model
from gslc.memory.vllm.spanning import against_ray, with_ports
from gslc.memory.vllm.view import View, view_of

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
LONG_CONTEXT = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vllm:
    """See contracts.Backend."""

    name: str = "vllm"
    default_pin: EnginePin = field(default_factory=lambda: EnginePin(version=DEFAULT_VERSION))

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """Flags, values, clashes between keys and args, context and layout, for every release that could run it."""
        pins = [resolve_pin(self.name, self.default_pin, request.cluster.engines)]
        pins += [
            resolve_pin(self.name, self.default_pin, request.cluster.engines, host.engines)
            for host in request.cluster.hosts
        ]
        versions = tuple(dict.fromkeys(_version(pin, request.model) for pin in pins))
        found = [
            diagnostic
            for version in versions
            for diagnostic in review_model(request, version, self._hosts(request, version))
        ]
        return tuple(dict.fromkeys(found))

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        """VLLM runs on Linux with GPUs; in containers only where an image of the release is known or given."""
        found: list[Excluded] = []
        if host_class.os != "linux":
            found.append(Excluded(what="", rule="platform", detail=f"vLLM runs on linux, not on {host_class.os}"))
        if not host_class.gpu_kinds and not request.model.requirements:
            found.append(Excluded(what="", rule="GPU", detail="vLLM needs a GPU, hosts of this class have none"))
        vendors = sorted({kind.vendor for kind in host_class.gpu_kinds})
        pin = self._pin(request, host_class)
        if vendors and all(vendor in {"apple", "mthreads"} for vendor in vendors):
            found.append(Excluded(what="", rule="vendor", detail=f"vLLM has no build for GPUs of {', '.join(vendors)}"))
        elif vendors and _image(request.model, pin, vendors[0]) is None and runs_containers(host_class, None):
            found.append(
                Excluded(
                    what="",
                    rule="image",
                    detail=(
                        f"no image of vLLM {_version(pin, request.model)} is known for GPUs "
                        f"of {vendors[0]}; give engines.vllm.image"
                    ),
                )
            )
        return tuple(found)

    def options(self, request: Request, host_class: HostClass) -> Options:
        """One GPU, else the smallest legal tensor-parallel size, else (if `distributed`) stages on several hosts."""
        model = request.model
        view = self._view(request, self.engine_version(request, host_class))
        if model.requirements:
            return _with_layout(stated_options(model, host_class), view, host_class)
        if view is None:
            return Options()
        asker = Asker(
            name=model.name,
            place=request.cluster.places.at("models", model.name, "parallel"),
            exclusive=model.exclusive_gpus,
        )
        hosts = len(request.cluster.hosts)
        return vllm_options(view, host_class, asker, hosts=hosts, distributed=model.distributed)

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The pinned release, or the one that the tag of the model's own image names."""
        return _version(self._pin(request, host_class), request.model)

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """One process a seat; the leader answers HTTP, the others are headless or Ray's."""
        pin = resolve_pin(self.name, self.default_pin, request.cluster.engines, hosts[assignment.seats[0].host].engines)
        view = self._view(request, _version(pin, request.model))
        return tuple(_launch(request, assignment, hosts, node, self, view) for node in range(len(assignment.seats)))

    def _hosts(self, request: Request, version: str) -> tuple[Host, ...]:
        """The hosts with GPUs that the model's selector and pins allow and that have this release."""
        pinned = {name for name, _ in request.model.gpus}
        return tuple(
            host
            for host in request.cluster.hosts
            if host.gpus
            and (not pinned or host.name in pinned)
            and request.selector.items() <= host.labels.items()
            and version
            == _version(resolve_pin(self.name, self.default_pin, request.cluster.engines, host.engines), request.model)
        )

    def _pin(self, request: Request, host_class: HostClass) -> EnginePin:
        return resolve_pin(self.name, self.default_pin, request.cluster.engines, dict(host_class.engines))

    def _view(self, request: Request, version: str) -> View | None:
        if request.facts is None:
            return None
        return view_of(
            request.facts,
            keys_of(request.model),
            request.model.args,
            version,
            long_context_allowed=long_context(request.model),
        )


def _with_layout(stated: Options, view: View | None, host_class: HostClass) -> Options:
    """Stated alternatives as layouts: tensor parallel over a part's cards, pipeline stages over the parts."""
    if view is None:
        return stated
    refused = against_ray(host_class.gpu_kinds, view)
    fixed = (
        with_ports(replace(choice, layout=_stated_layout(choice, view)))
        for choice in stated.fixed
        if len(choice.parts) == 1 or not refused
    )
    return replace(stated, fixed=tuple(fixed), refused=refused)


def _stated_layout(choice: Choice, view: View) -> Layout:
    return replace(
        choice.layout,
        tensor_parallel=view.tensor_parallel or max(1, len(choice.parts[0].gpus)),
        pipeline_parallel=view.pipeline_parallel or len(choice.parts),
        layers=view.shape.layers,
        context=view.context or view.context_ceiling,
    )


def long_context(model: Model) -> bool:
    """Whether the user lets vLLM go beyond the derived maximum."""
    return (LONG_CONTEXT, "1") in model.env


def _version(pin: EnginePin, model: Model) -> str:
    image = model.image
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2] if image is not None else ""
    if tag[:1] == "v" and version_tuple(tag) > (0, 0, 0):
        return tag[1:].partition("-")[0]
    return (pin.version or DEFAULT_VERSION).removeprefix("v")


def _image(model: Model, pin: EnginePin, vendor: Vendor | None) -> str | None:
    given = model.image or pin.image
    if given is not None:
        return given
    entry = IMAGES.get(vendor or "nvidia")
    version = _version(pin, model)
    if entry is None or version_tuple(version) < entry[1]:
        return None
    return f"{entry[0]}:v{version}"


def _program(path: str | None) -> str:
    """A pinned path names the program, or the folder that holds it."""
    if path is None:
        return PROGRAM
    return path if path.rpartition("/")[2].startswith("vllm") else f"{path.rstrip('/')}/vllm"


def _launch(
    request: Request, assignment: Assignment, hosts: Mapping[str, Host], node: int, backend: Vllm, view: View | None
) -> Launch:
    model, facts = request.model, request.facts
    seat, leader_seat = assignment.seats[node], assignment.seats[0]
    host, leader = hosts[seat.host], hosts[leader_seat.host]
    pin = resolve_pin(backend.name, backend.default_pin, request.cluster.engines, host.engines)
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
        argv=_argv(request, assignment, host, leader, node, _version(pin, model), view),
        image=_image(model, pin, vendor),
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
    if model.api_key is not None and leader:  # the others answer nobody
        found["VLLM_API_KEY"] = model.api_key.name
    return tuple(sorted(found.items()))
