"""docker compose: one file a host, one service an instance and role, and one that fetches each model's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gslc.contracts import instances_of
from gslc.ir.diagnostic import Diagnostic, Excluded, Outcome
from gslc.ir.inputs import Cluster, Host
from gslc.ir.output import OutputFile
from gslc.ir.placement import HostClass
from gslc.ir.plan import Instance, Launch, Plan, Shard
from gslc.ir.record import dataclass
from gslc.targets import quoting_yaml as q
from gslc.targets.addresses import local_address, probe, remote_address, shards_by_host, shards_by_name
from gslc.targets.devices import container_variables, device_ids, device_nodes, pins_memory
from gslc.targets.fetch import HOST_PROGRAM, Fetch, fetch_json, fetches_of, outside_folders
from gslc.targets.reach import review_followers, review_reach
from gslc.targets.render import Quoted, Renderer
from gslc.targets.reviews import (
    review_image,
    review_mixed_targets,
    review_mounts,
    review_names,
    review_paths,
    review_values,
)

# What runs gslc_host.py; it holds Python's standard library and the certificates of public authorities.
HELPER_IMAGE = "docker.io/library/python:3.13-slim"
CACHE_FOLDER = "/var/cache/gslc"  # inside the container, on a named volume
_SECRETS = "/etc/gslc/secrets"
_ASCEND_DRIVER = (
    "/usr/local/Ascend/driver",
    "/usr/local/dcmi",
    "/usr/local/bin/npu-smi",
    "/etc/ascend_install.info",
)
# without a proxy: the request is to the container itself
_PYTHON_PROBE = "import sys, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=5)"

Pairs = tuple[tuple[Quoted, Quoted], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperView:
    """A service that ends: it fetches files, or waits for ports of other hosts."""

    name: Quoted
    image: Quoted
    arguments: tuple[Quoted, ...]
    volumes: tuple[Quoted, ...]
    secret: Quoted | None
    after: tuple[Quoted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """A health check; start_period covers loading."""

    test: tuple[Quoted, ...]
    start_period: Quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A service that runs one process of an instance."""

    name: Quoted
    image: Quoted
    entrypoint: tuple[Quoted, ...]
    arguments: tuple[Quoted, ...]
    environment: Pairs
    environment_files: tuple[Quoted, ...]
    secret: Quoted | None
    volumes: tuple[Quoted, ...]
    depends_on: Pairs
    health: HealthView | None
    restart: Quoted
    stop_period: Quoted
    shared_memory: Quoted | None
    nvidia_ids: tuple[Quoted, ...]
    runtime: Quoted | None
    devices: tuple[Quoted, ...]
    groups: tuple[Quoted, ...]
    pins_memory: bool  # several cards or hosts: collective libraries lock the memory they send from
    peer_memory: bool  # processes that map each other's card memory through ptrace rights (AMD)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeView:
    """The file of one host."""

    title: Quoted
    helpers: tuple[HelperView, ...]
    services: tuple[ServiceView, ...]
    secrets: Pairs  # name and file
    volumes: tuple[Quoted, ...]


class ComposeTarget:
    """Writes compose/<host>/: the compose file, the project's name, the fetch lists and the helper program."""

    name = "compose"

    def __init__(self, *, templates: Callable[[str], str]) -> None:
        self._renderer = Renderer(templates)

    def excludes(self, host_class: HostClass) -> Excluded | None:
        """Containers see no cards but on Linux, and the images are Linux images."""
        if host_class.os == "linux":
            return None
        return Excluded(
            what=f"hosts with os {host_class.os}",
            rule="target",
            detail=f"compose needs linux (containers on {host_class.os} are given no GPU and another network); "
            "such hosts can be run by target nomad with nomad_driver raw_exec",
        )

    def review(self, plan: Plan, cluster: Cluster) -> tuple[Diagnostic, ...]:
        """Images that are missing or can't do what is asked, replicas over several targets, unspeakable values."""
        instances = instances_of(plan, self.name)
        return (
            *review_mixed_targets(instances, cluster),
            *review_names(instances, cluster),
            *review_image(instances, cluster),
            *review_mounts(instances, cluster),
            *review_paths(instances, cluster),
            *review_reach(instances, cluster),
            *review_followers(instances, cluster, "compose"),
            *review_values(instances, cluster),
        )

    def render(self, plan: Plan, cluster: Cluster) -> Outcome[tuple[OutputFile, ...]]:
        """The files of all hosts that this target runs."""
        hosts = {host.name: host for host in cluster.hosts}
        index = {instance.name: instance for instance in plan.instances}
        files: list[OutputFile] = []
        for name, here in shards_by_host(instances_of(plan, self.name)).items():
            files += self._host(plan.cluster, hosts[name], here, index)
        return Outcome(value=tuple(sorted(files, key=lambda file: file.path)))

    def _host(
        self,
        cluster: str,
        host: Host,
        here: list[tuple[Instance, Shard]],
        index: Mapping[str, Instance],
    ) -> list[OutputFile]:
        folder = f"compose/{host.name}"
        fetches = fetches_of((instance.model, shard.launch) for instance, shard in here)
        waits = (_wait_view(instance, shard) for instance, shard in here)
        view = ComposeView(
            title=q.comment(f"Model servers of cluster {cluster} on {host.name}"),
            helpers=(*(_fetch_view(fetch) for fetch in fetches.values()), *(wait for wait in waits if wait)),
            services=tuple(_service_view(host, instance, shard, fetches, index) for instance, shard in here),
            secrets=tuple(
                (q.key(name), q.value(f"{_SECRETS}/{name}")) for name in sorted(_secret_names(here, fetches))
            ),
            volumes=tuple(q.key(_cache_volume(shard.launch)) for _, shard in here if shard.launch.cache_dirs),
        )
        return [
            OutputFile(path=f"{folder}/.env", text=f"COMPOSE_PROJECT_NAME={cluster}\n"),
            OutputFile(
                path=f"{folder}/compose.yaml", text=self._renderer.render("templates/compose/compose.yaml.j2", view)
            ),
            *(
                OutputFile(path=f"{folder}/host/{fetch.model}.fetch.json", text=fetch_json(fetch))
                for fetch in fetches.values()
            ),
            *(
                [OutputFile(path=f"{folder}/host/gslc_host.py", text=self._renderer.text(HOST_PROGRAM))]
                if view.helpers
                else []
            ),
        ]


def fetch_service(model: str) -> str:
    """The service that fetches a model's files; instance names end in a number, so the two never meet."""
    return f"{model}-fetch"


def wait_service(launch: str) -> str:
    """The service that waits for what a launch needs on other hosts."""
    return f"{launch}-wait"


def _cache_volume(launch: Launch) -> str:
    return f"{launch.name}-cache"


def _secret_names(here: list[tuple[Instance, Shard]], fetches: Mapping[str, Fetch]) -> set[str]:
    names = {_token_secret(fetch) for fetch in fetches.values()} - {""}
    return names | {"hf_token" for _, shard in here if shard.launch.hub_token}


def _token_secret(fetch: Fetch) -> str:
    """The name of the secret that holds the hub's token: the token variable in small letters; "" without one."""
    return next((file.token.lower() for file in fetch.files if file.token and file.url), "")


def _bind(path: str, mode: str = "ro") -> Quoted:
    """A folder of the host at its own path. The short form, since 1.29 knows no other that makes missing folders."""
    return q.value(f"{path}:{path}:{mode}")


def _fetch_view(fetch: Fetch) -> HelperView:
    secret = _token_secret(fetch)
    arguments = ["/gslc/gslc_host.py", "fetch", f"/gslc/{fetch.model}.fetch.json"]
    if secret:
        arguments += ["--token-file", f"/run/secrets/{secret}"]
    folders = outside_folders(fetch.files, fetch.model_dir)
    return HelperView(
        name=q.key(fetch_service(fetch.model)),
        image=q.value(HELPER_IMAGE),
        arguments=tuple(q.value(argument) for argument in arguments),
        volumes=(
            q.value("./host:/gslc:ro"),
            _bind(fetch.model_dir, "rw"),
            *(_bind(folder) for folder in sorted({*folders, *fetch.mirrors})),
        ),
        secret=q.value(secret) if secret else None,
        after=tuple(q.key(fetch_service(model)) for model in fetch.needs),
    )


def _remote_probes(instance: Instance, shard: Shard) -> tuple[str, ...]:
    shards = shards_by_name(instance)
    others = (shards[name] for name in shard.launch.after if shards[name].host != shard.host)
    found = ((other, remote_address(other)) for other in others)
    return tuple(target for other, address in found if address and (target := probe(other.launch, address)))


def _wait_view(instance: Instance, shard: Shard) -> HelperView | None:
    """The service that waits for the parts of an instance on other hosts, where it has such."""
    probes = _remote_probes(instance, shard)
    if not probes:
        return None
    shards = shards_by_name(instance)
    seconds = max(shards[name].launch.start_seconds for name in shard.launch.after)
    arguments = ("/gslc/gslc_host.py", "wait", "--seconds", str(seconds), *probes)
    return HelperView(
        name=q.key(wait_service(shard.launch.name)),
        image=q.value(HELPER_IMAGE),
        arguments=tuple(q.value(argument) for argument in arguments),
        volumes=(q.value("./host:/gslc:ro"),),
        secret=None,
        after=(),
    )


def _service_view(
    host: Host, instance: Instance, shard: Shard, fetches: Mapping[str, Fetch], index: Mapping[str, Instance]
) -> ServiceView:
    launch = shard.launch
    if launch.image is None:
        raise ValueError(f"{launch.name} has no image: review must have refused it")
    argv = launch.argv if launch.isolated_argv is None else launch.isolated_argv
    return ServiceView(
        name=q.key(launch.name),
        image=q.value(launch.image),
        entrypoint=tuple(q.value(word) for word in launch.image_entrypoint or ()),
        arguments=tuple(q.value(word) for word in argv),
        environment=_environment(launch, host),
        environment_files=tuple(
            q.value(f"{_SECRETS}/{secret}.env") for secret in sorted({name for _, name in launch.secret_env})
        ),
        secret=q.value("hf_token") if launch.hub_token else None,
        volumes=_volumes(launch),
        depends_on=_depends_on(instance, shard, fetches, index),
        health=_health(launch),
        restart=q.value("unless-stopped" if launch.restart == "always" else "on-failure"),
        stop_period=q.value(f"{launch.stop_seconds}s"),
        shared_memory=q.value(f"{launch.shared_memory_bytes}") if launch.shared_memory_bytes else None,
        nvidia_ids=tuple(q.value(name) for name in _nvidia_ids(launch, host)),
        runtime=q.value("mthreads") if launch.vendor == "mthreads" else None,
        devices=tuple(q.value(f"{node}:{node}") for node in device_nodes(launch)),
        groups=(q.value("video"),) if launch.vendor in ("amd", "intel") else (),
        pins_memory=pins_memory(launch),
        peer_memory=launch.vendor == "amd" and len(launch.gpus) > 1,
    )


def _nvidia_ids(launch: Launch, host: Host) -> tuple[str, ...]:
    return device_ids(launch, host) if launch.vendor == "nvidia" else ()


def _environment(launch: Launch, host: Host) -> Pairs:
    secret = {variable for variable, _ in launch.secret_env}
    values = {name: value for name, value in launch.env if name not in secret}
    values |= dict(container_variables(launch, host))
    values |= {variable: f"{CACHE_FOLDER}/{folder}" for variable, folder in launch.cache_env}
    if launch.hub_token:
        values["HF_TOKEN_PATH"] = "/run/secrets/hf_token"  # noqa: S105 - a path
    return tuple((q.key(name), q.value(values[name])) for name in sorted(values))


def _volumes(launch: Launch) -> tuple[Quoted, ...]:
    folders = [launch.model_dir] if launch.model_dir else []
    folders += [*outside_folders(launch.files, launch.model_dir)]
    driver = _ASCEND_DRIVER if launch.vendor == "ascend" else ()
    cache = (q.value(f"{_cache_volume(launch)}:{CACHE_FOLDER}"),) if launch.cache_dirs else ()
    return (*(_bind(folder) for folder in (*folders, *driver)), *cache)


def _depends_on(instance: Instance, shard: Shard, fetches: Mapping[str, Fetch], index: Mapping[str, Instance]) -> Pairs:
    """Services of this host that must be done, started or healthy before this one."""
    shards = shards_by_name(instance)
    conditions: dict[str, str] = {}
    for name in shard.launch.after:
        if shards[name].host == shard.host:
            conditions[name] = "service_healthy" if _health(shards[name].launch) else "service_started"
    for name in instance.startup_group:
        for other in index[name].shards:
            if other.host == shard.host and set(other.gpus) & set(shard.gpus):
                healthy = _health(other.launch)
                conditions[other.launch.name] = "service_healthy" if healthy else "service_started"
    if shard.launch.files:
        fetch = fetches[instance.model]
        for model in (fetch.model, *fetch.needs):
            conditions[fetch_service(model)] = "service_completed_successfully"
    if _remote_probes(instance, shard):
        conditions[wait_service(shard.launch.name)] = "service_completed_successfully"
    return tuple((q.key(name), q.value(conditions[name])) for name in sorted(conditions))


def _health(launch: Launch) -> HealthView | None:
    """The health check by the program that the image holds; None where the launch answers no HTTP."""
    url = probe(launch, local_address(launch))
    if not url or not launch.health_path:
        return None
    curl = ("curl", "--fail", "--silent", "--output", "/dev/null", "--max-time", "5", "--noproxy", "*", url)
    command = curl if launch.health_program == "curl" else ("python3", "-c", _PYTHON_PROBE, url)
    return HealthView(
        test=tuple(q.value(word) for word in ("CMD", *command)),
        start_period=q.value(f"{launch.start_seconds}s"),
    )
