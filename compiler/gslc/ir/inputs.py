"""What the user wrote: a cluster of hosts, GPUs and models, defaults already applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, Protocol, TypeAlias

from gslc.ir.diagnostic import Place
from gslc.ir.record import dataclass

TargetName: TypeAlias = str  # systemd | compose | nomad, or one that a plug-in adds
BackendName: TypeAlias = str  # llama-box | llama.cpp | vllm | vox-box | custom, or one that a plug-in adds
Os: TypeAlias = Literal["linux", "darwin", "windows"]
Arch: TypeAlias = Literal["amd64", "arm64"]
Vendor: TypeAlias = Literal["nvidia", "amd", "apple", "ascend", "intel", "mthreads"]
HostShare: TypeAlias = Literal["all", "half", "metal"]  # of the host's memory, by who hands it out
SourceKind: TypeAlias = Literal["hf", "modelscope", "ollama", "file"]
Path: TypeAlias = tuple[str | int, ...]  # ("models", "chat", "args", 0)


class Places(Protocol):
    """Where each value of the cluster stands in its file."""

    def at(self, *path: str | int) -> Place:
        """The place of the value at `path`, or of its nearest written parent."""
        ...

    def key(self, *path: str | int) -> Place:
        """The place of the key at `path`, or of its nearest written parent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """A secret by name, never by value."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePin:
    """Which build of an engine: version as the engine writes it, program or folder, image. None: the default."""

    version: str | None = None
    path: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """What a card is. memory_bytes is what the driver reports, not the marketing size."""

    model: str
    vendor: Vendor
    memory_bytes: int
    compute_capability: tuple[int, int] | None = None  # NVIDIA only
    architecture: str | None = None  # e.g. gfx942, ampere, m3; None where unknown
    host_share: HostShare | None = None  # no memory of its own: memory_bytes is 0 until the host is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device of a host; index is its place in PCI order."""

    index: int
    kind: GpuKind
    uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine that can run models. Sizes in bytes; `labels` always hold os, arch and host."""

    name: str
    address: str | None
    listen: str
    os: Os
    arch: Arch
    memory_bytes: int
    unified_memory: bool
    reserved_memory_bytes: int
    reserved_gpu_memory_bytes: int
    labels: Mapping[str, str]
    target: TargetName
    model_dir: str
    engines: Mapping[str, EnginePin]  # this host's overrides
    nomad_driver: Literal["docker", "raw_exec"] | None
    gpus: tuple[Gpu, ...]
    nvlink: tuple[tuple[int, ...], ...] = ()  # islands: cards linked to each other, two or more; (): not said


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a model's files are. `path` is a file or a glob inside the repository, or the path itself for file://."""

    kind: SourceKind
    text: str  # as written
    repository: str = ""  # owner/name; name for ollama; "" for file
    revision: str | None = None  # as asked (branch, tag, commit); the tag for ollama
    path: str | None = None
    quantization: str | None = None  # from :Q4_K_M


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementPart:
    """What one host of a replica must give: memory on each of `gpus` cards, and host memory, in bytes."""

    gpus: int = 0
    gpu_memory_bytes: int = 0
    memory_bytes: int = 0
    offload_bytes: int = 0  # how much of memory_bytes would be on a GPU in a better alternative
    command: tuple[str, ...] | None = None  # None: the model's own command


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One stated alternative; the parts lie on different hosts, leader first."""

    parts: tuple[RequirementPart, ...]
    command: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to serve, defaults applied. None means "not said": the compiler decides or the engine's default holds."""

    name: str
    source: Source | None  # None only for backend custom
    replicas: int = 1
    context: int | None = None  # tokens of one request
    parallel: int | None = None  # concurrent requests
    host_selector: tuple[tuple[str, str], ...] | None = None  # sorted pairs; None: not written
    cpu_offload: bool = False
    distributed: bool = False
    backend: BackendName | None = None
    backend_for_gguf: BackendName = "llama-box"
    served_name: str | None = None
    gpus: tuple[tuple[str, int], ...] = ()  # pins (host, index): the pool its replicas may use
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    gpu_memory_utilization: int | Literal["auto"] | None = None  # thousandths
    gpu_layers: int | None = None
    tensor_split: tuple[int, ...] | None = None
    kv_cache_type: str | None = None
    placement: Literal["binpack", "spread"] = "binpack"
    anti_affinity: Literal["host"] | None = None
    exclusive_gpus: bool = False
    priority: int = 0
    port: int | None = None
    mmproj: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str | SecretRef], ...] = ()  # sorted by name
    api_key: SecretRef | None = None
    image: str | None = None
    command: tuple[str, ...] = ()  # backend custom
    requirements: tuple[Requirement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The whole input. hosts and models are sorted by name, so that their order in the file never matters."""

    name: str
    target: TargetName
    port_range: tuple[int, int]  # first and last, both usable
    engines: Mapping[str, EnginePin]
    hosts: tuple[Host, ...]
    models: tuple[Model, ...]
    places: Places = field(compare=False)
    file: str = "cluster.yaml"  # as the user named it, for messages
