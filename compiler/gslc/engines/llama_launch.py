"""The processes of a GGUF instance: the server, and one RPC server per remote GPU."""

from __future__ import annotations

from collections.abc import Mapping

from gslc.engines.llama_args import ParsedArgs, merge_argv
from gslc.engines.llama_profile import EngineProfile
from gslc.engines.llama_settings import LlamaSettings
from gslc.engines.paths import file_path, model_files, model_folder
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import EnginePin, Host, Model, SecretRef, Vendor
from gslc.ir.lock import Seat
from gslc.ir.placement import Assignment
from gslc.ir.plan import Launch, Layout
from gslc.ir.record import dataclass

# What the engine calls the first visible device of a vendor (ggml backend registry names).
DEVICE_NAMES: Mapping[Vendor, str] = {
    "nvidia": "CUDA0",
    "amd": "ROCm0",
    "apple": "MTL0",
    "ascend": "CANN0",
    "intel": "SYCL0",
    "mthreads": "MUSA0",
}
API_KEY_VARIABLE = "LLAMA_API_KEY"  # llama-server --help, --api-key
LOAD_BYTES_PER_SECOND = 100_000_000  # a slow disk or network share; loading never has a reason to take longer
START_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of an engine: their names, the folder where units look for them, and the images."""

    server: str
    rpc_server: str
    folder: str = "/usr/local/bin"


def server_flags(
    profile: EngineProfile,
    model: Model,
    facts: ModelFacts,
    settings: LlamaSettings,
    layout: Layout,
    host: Host,
    port: int,
    endpoints: tuple[str, ...],
) -> tuple[tuple[str, ...], ...]:
    """Every setting that the plan rests on, said to the engine in its own words; nothing is left to its defaults."""
    assert model.source is not None  # a GGUF model without a source is refused by the reader
    folder = model_folder(facts, host.model_dir, model.source)
    if facts.kind == "image":
        return _image_flags(model, file_path(folder, facts.files[0].path), layout, host, port)
    own = profile.product == "llama.cpp"
    flags: list[tuple[str, ...]] = [
        ("-m", file_path(folder, facts.files[0].path)),
        ("--host", host.listen),
        ("--port", str(port)),
        ("--alias", model.served_name or model.name),
        ("-c", str((layout.context or 0) * (layout.parallel or 1))),
        ("-np", str(layout.parallel or 1)),
    ]
    flags += _memory_flags(profile, settings, layout)
    flags.append(("--metrics",))  # prometheus/targets.json names the server; without it /metrics answers 501
    if facts.kind == "reranker":
        flags.append(("--rerank",))
    elif facts.kind == "embedding":
        flags.append(("--embedding",) if own else ("--embeddings",))
    if facts.kind in ("embedding", "reranker"):
        flags += [("-b", str(settings.batch)), ("-ub", str(settings.ubatch))]
    if facts.projector_file is not None:
        flags.append(("--mmproj", file_path(folder, facts.projector_file)))
    if endpoints:
        flags.append(("--rpc", ",".join(endpoints)))
    return tuple(flags)


def _image_flags(model: Model, path: str, layout: Layout, host: Host, port: int) -> tuple[tuple[str, ...], ...]:
    """llama-box with a diffusion file; --tensor-split 1 keeps it on the one visible card."""
    on_card = bool(layout.gpu_layers)
    return (
        ("-m", path),
        ("--host", host.listen),
        ("--port", str(port)),
        ("--alias", model.served_name or model.name),
        ("--images",),
        ("--image-vae-tiling",),
        ("-ngl", str(layout.gpu_layers or 0)),
        ("-ts", "1") if on_card else ("--device", "none"),
    )


def _memory_flags(profile: EngineProfile, settings: LlamaSettings, layout: Layout) -> list[tuple[str, ...]]:
    flags: list[tuple[str, ...]] = []
    if settings.unified:
        flags.append(("--kv-unified",))
    elif profile.auto_slots:
        flags.append(("--no-kv-unified",))
    flags.append(("-ngl", str(layout.gpu_layers or 0)))
    if layout.tensor_split:
        flags.append(("-ts", ",".join(str(part) for part in layout.tensor_split)))
    elif not layout.gpu_layers:
        flags.append(("--device", "none"))  # no context on a card that the plan does not reserve
    if layout.cpu_moe_layers:
        flags.append(("--n-cpu-moe", str(layout.cpu_moe_layers)))
    if settings.key_type != "f16":
        flags.append(("-ctk", settings.key_type))
    if settings.value_type != "f16":
        flags.append(("-ctv", settings.value_type))
        if not profile.flash_takes_value:
            flags.append(("-fa",))
    if profile.has_fit:
        flags.append(("--fit", "off"))
    if profile.has_cache_ram:
        flags.append(("--cache-ram", str(settings.cache_ram_mib or 0)))
    return flags


def rpc_argv(profile: EngineProfile, host: Host, port: int, vendor: Vendor) -> tuple[str, ...]:
    """Arguments of the process that serves one card to another host."""
    if profile.product == "llama-box":
        return ("--rpc-server-host", host.listen, "--rpc-server-port", str(port), "--rpc-server-main-gpu", "0")
    return ("-H", host.listen, "-p", str(port), "-d", DEVICE_NAMES[vendor])


def gguf_launches(
    profile: EngineProfile,
    programs: Programs,
    model: Model,
    facts: ModelFacts,
    settings: LlamaSettings,
    parsed: ParsedArgs,
    assignment: Assignment,
    hosts: Mapping[str, Host],
    pins: Mapping[str, EnginePin],
    images: Mapping[str, str | None],
) -> tuple[Launch, ...]:
    """The leader, then one RPC server per remote card. pins and images are by host name."""
    servers = _rpc_launches(profile, programs, model, assignment, hosts, pins, images)
    endpoints = tuple(f"{hosts[s.host].address or hosts[s.host].listen}:{s.port}" for s in servers)
    seat, part = assignment.seats[0], assignment.choice.parts[0]
    host = hosts[seat.host]
    flags = server_flags(profile, model, facts, settings, assignment.choice.layout, host, seat.ports[0], endpoints)
    assert model.source is not None
    total = sum(file.size_bytes for file in facts.files)
    secrets = {name: value.name for name, value in model.env if isinstance(value, SecretRef)}
    if model.api_key is not None:
        secrets[API_KEY_VARIABLE] = model.api_key.name
    leader = Launch(
        name=f"{model.name}-{assignment.replica}",
        role="leader",
        rank=0,
        host=seat.host,
        program=program_path(pins[seat.host], programs.server, programs.folder),
        argv=merge_argv(flags, parsed, profile),
        image=images[seat.host],
        env=tuple((name, value) for name, value in model.env if isinstance(value, str)),
        secret_env=tuple(sorted(secrets.items())),
        gpus=seat.gpus,
        gpu_uuids=_uuids(host, seat),
        vendor=_vendor(host, seat),
        listen=host.listen,
        port=seat.ports[0],
        health_path="/health",
        start_seconds=max(START_SECONDS, total // LOAD_BYTES_PER_SECOND),
        group_restart=bool(servers),
        after=tuple(server.name for server in servers),
        memory_bytes=part.host.total,
        model_dir=host.model_dir,
        files=model_files(facts, host.model_dir, model.source),
    )
    return (leader, *servers)


def _rpc_launches(
    profile: EngineProfile,
    programs: Programs,
    model: Model,
    assignment: Assignment,
    hosts: Mapping[str, Host],
    pins: Mapping[str, EnginePin],
    images: Mapping[str, str | None],
) -> list[Launch]:
    launches: list[Launch] = []
    for seat, part in list(zip(assignment.seats, assignment.choice.parts, strict=True))[1:]:
        host = hosts[seat.host]
        by_index = {gpu.index: gpu for gpu in host.gpus}
        for gpu, port in zip(seat.gpus, seat.ports, strict=True):
            rank = len(launches) + 1
            launches.append(
                Launch(
                    name=f"{model.name}-{assignment.replica}-rpc-{rank}",
                    role="rpc",
                    rank=rank,
                    host=seat.host,
                    program=program_path(pins[seat.host], programs.rpc_server, programs.folder),
                    argv=rpc_argv(profile, host, port, by_index[gpu].kind.vendor),
                    image=images[seat.host],
                    image_entrypoint=(programs.rpc_server,) if images[seat.host] else None,
                    gpus=(gpu,),
                    gpu_uuids=(by_index[gpu].uuid,),
                    vendor=by_index[gpu].kind.vendor,
                    listen=host.listen,
                    port=port,
                    group_restart=True,
                    memory_bytes=part.host.total // len(seat.gpus),
                    model_dir=host.model_dir,
                )
            )
    return launches


def program_path(pin: EnginePin, program: str, folder: str) -> str:
    """Where the program lies: the pinned program, beside it or in the pinned folder, else the documented folder."""
    if pin.path is None:
        return f"{folder}/{program}"
    path = pin.path.rstrip("/")
    name = path.rsplit("/", 1)[-1]
    if name == program:
        return path
    is_program = name in ("llama-server", "llama-box", "ggml-rpc-server") or name.endswith(".exe")
    return f"{path.rsplit('/', 1)[0] if is_program else path}/{program}"


def _uuids(host: Host, seat: Seat) -> tuple[str | None, ...]:
    by_index = {gpu.index: gpu.uuid for gpu in host.gpus}
    return tuple(by_index[index] for index in seat.gpus)


def _vendor(host: Host, seat: Seat) -> Vendor | None:
    by_index = {gpu.index: gpu.kind.vendor for gpu in host.gpus}
    return by_index[seat.gpus[0]] if seat.gpus else None
