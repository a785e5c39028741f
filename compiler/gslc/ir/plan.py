"""What was decided: instances, where their parts lie, how they are started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from gslc.ir.diagnostic import Decision
from gslc.ir.inputs import BackendName, TargetName, Vendor
from gslc.ir.record import dataclass

Role: TypeAlias = Literal["leader", "rpc", "worker"]
Basis: TypeAlias = Literal["measured", "derived", "claimed", "stated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """Bytes on one device (or in host RAM). `total` is the sum, or alone where requirements stated it."""

    weights: int = 0
    kv_cache: int = 0
    compute: int = 0
    overhead: int = 0
    stated: int = 0

    @property
    def total(self) -> int:
        """All bytes that the instance needs on the device."""
        return self.weights + self.kv_cache + self.compute + self.overhead + self.stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The engine's own settings that a placement fixes; pinned in the lock beside the seats."""

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    gpu_layers: int | None = None  # GGUF: counts the output layer
    layers: int | None = None  # GGUF: blocks + 1; vLLM: blocks; None for the rest
    tensor_split: tuple[int, ...] | None = None  # whole layers, in the engine's device order
    cpu_moe_layers: int | None = None  # --n-cpu-moe
    gpu_memory_utilization: int | None = None  # thousandths
    context: int | None = None  # tokens of one request
    parallel: int | None = None
    requirement: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardMemory:
    """Memory of one shard: one entry a GPU, in the shard's device order, and the host's."""

    gpus: tuple[DeviceMemory, ...]
    host: DeviceMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file a launch needs: where it must be on the host, and what it must be."""

    path: str  # absolute, on the host
    size_bytes: int
    sha256: str | None
    url: str | None  # None: the user puts it there (file://)
    token: str | None = None  # environment name of the token that the hub wants for gated files: HF_TOKEN, …


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How one process of an instance is started. Data only: a target prints it in its own language.

    `argv` holds the arguments after the program. Containers mount model_dir at its own path, so argv is the same there.
    Targets add visibility variables and device nodes for `gpus`; backends never do.
    """

    name: str  # <model>-<replica>, or with -rpc-<k> / -worker-<rank>
    role: Role
    rank: int
    host: str
    program: str  # absolute path for processes; for containers the image's entry point runs unless entrypoint is given
    argv: tuple[str, ...]
    image: str | None  # None: the engine has no image for this host
    image_entrypoint: tuple[str, ...] | None = None  # None: keep the image's own; argv then is its arguments
    env: tuple[tuple[str, str], ...] = ()  # sorted by name
    secret_env: tuple[tuple[str, str], ...] = ()  # (variable, secret name)
    hub_token: bool = False  # give HF_TOKEN_PATH
    gpus: tuple[int, ...] = ()  # host indices, in the process's own device order
    gpu_uuids: tuple[str | None, ...] = ()
    vendor: Vendor | None = None
    gpu_selection: Literal["visible", "argument"] = "visible"  # argument: the engine is told the host index itself
    listen: str = "127.0.0.1"
    port: int = 0
    extra_ports: tuple[int, ...] = ()
    health_path: str | None = None  # None: no HTTP (followers, RPC servers); tcp check on `port` where port > 0
    health_program: Literal["curl", "python3"] = "curl"  # what the image holds to ask its own health page with
    start_seconds: int = 600  # how long loading may take
    stop_seconds: int = 30
    restart: Literal["always", "on-failure"] = "always"
    group_restart: bool = False  # all shards of the instance must restart together
    ends_with_leader: bool = False  # ends by itself when its leader is gone, so that any restart is the group's
    after: tuple[str, ...] = ()  # launches (same instance) that must be up before this one
    shared_memory_bytes: int = 0  # > 0: needs its own /dev/shm of at least this, or the host's IPC
    memory_bytes: int = 0  # host RAM it may need; for limits and Nomad's reservation
    model_dir: str = ""  # read by the process
    cache_dirs: tuple[str, ...] = ()  # names of writable folders it wants below its state folder
    cache_env: tuple[tuple[str, str], ...] = ()  # (variable, folder name): the target sets the variable to that folder
    files: tuple[ModelFile, ...] = ()
    isolated_argv: tuple[str, ...] | None = (
        None  # instead of argv in containers: other cards are hidden there, other paths hold
    )
    jit: bool = False  # makes executable memory at run time
    measures_free_memory: bool = False  # sizes itself by what is free at start: must start alone (vLLM issue 55827)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part of an instance on one host (for RPC servers: on one GPU)."""

    host: str
    role: Role
    rank: int
    gpus: tuple[int, ...]
    address: str
    port: int
    memory: ShardMemory
    launch: Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One replica, placed. shards[0] leads."""

    name: str
    model: str
    replica: int
    backend: BackendName
    engine_version: str
    target: TargetName
    served_name: str
    kind: str  # chat, embedding, …; "custom" for stated requirements
    selector: Mapping[str, str]
    shards: tuple[Shard, ...]
    layout: Layout
    basis: Basis
    exclusive: bool  # no other instance may use its GPUs
    startup_group: tuple[str, ...] = ()  # instances on the same GPU that must be ready before this one starts
    decisions: tuple[Decision, ...] = ()

    @property
    def port(self) -> int:
        """The port that answers for the instance."""
        return self.shards[0].port


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """A replica without a place, and the code of the diagnostic that says why."""

    model: str
    replica: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSummary:
    """A card as plan.json names it; memory_bytes is what the driver reports, before anything is reserved."""

    model: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSummary:
    """A host as plan.json names it: what a reader needs to see how full it is. gpus are in PCI order."""

    name: str
    os: str
    arch: str
    labels: tuple[tuple[str, str], ...]  # sorted; with os, arch and host
    memory_bytes: int
    unified_memory: bool = False
    reserved_memory_bytes: int = 0
    reserved_gpu_memory_bytes: int = 0  # on each GPU
    gpus: tuple[GpuSummary, ...] = ()
    nvlink: tuple[tuple[int, ...], ...] = ()  # islands of linked cards; (): not said


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole answer, instances sorted by model name and replica number, hosts by name."""

    cluster: str
    instances: tuple[Instance, ...]
    unplaced: tuple[Unplaced, ...] = ()
    hosts: tuple[HostSummary, ...] = ()
