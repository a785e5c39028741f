"""systemd: one service an instance and role, one fetch service a model, one target a host."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gslc.contracts import instances_of
from gslc.ir.diagnostic import Diagnostic, Excluded, Outcome
from gslc.ir.inputs import Cluster, Host
from gslc.ir.output import OutputFile
from gslc.ir.placement import HostClass
from gslc.ir.plan import Instance, Launch, Plan, Shard
from gslc.ir.record import dataclass
from gslc.targets import quoting_systemd as q
from gslc.targets.addresses import local_address, probe, remote_address, shards_by_host, shards_by_name
from gslc.targets.devices import process_variables
from gslc.targets.fetch import HOST_PROGRAM, Fetch, fetch_json, fetches_of, outside_folders
from gslc.targets.reach import review_reach, review_watches
from gslc.targets.render import Quoted, Renderer
from gslc.targets.reviews import review_mixed_targets, review_names, review_program, review_systemd_values

_PYTHON = "/usr/bin/python3"
_SECRETS = "/etc/gslc/secrets"
# A failing server is tried this often, then left failed for a person to look at.
_START_BURST = 5
_RESTART_SECONDS = 5
# What a start may take beyond loading: the waiting program's own start and systemd's bookkeeping.
_MARGIN_SECONDS = 30
_PRIVILEGED_PORTS = 1024
_HOMES = ("/home/", "/root/", "/run/user/")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A host's target."""

    title: Quoted
    wants: tuple[Quoted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchView:
    """A service that brings and verifies the files of one model."""

    title: Quoted
    target: Quoted
    after: tuple[Quoted, ...]
    make_folder: Quoted
    command: Quoted
    writable: Quoted
    credential: Quoted | None
    credential_path: Quoted | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchView:
    """A service that ends when a leader on another host is gone, and takes its worker with it into a restart."""

    title: Quoted
    target: Quoted
    command: Quoted
    start_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A service that runs one process of an instance."""

    title: Quoted
    target: Quoted
    requires: tuple[Quoted, ...]
    after: tuple[Quoted, ...]
    start_interval_seconds: int
    start_burst: int
    environment: tuple[Quoted, ...]
    environment_files: tuple[Quoted, ...]
    hub_token: Quoted | None
    wait_before: Quoted | None
    command: Quoted
    wait_after: Quoted | None
    restart: Quoted
    restart_seconds: int
    start_seconds: int
    stop_seconds: int
    state_directory: Quoted
    cache_directories: tuple[Quoted, ...]
    gpu: bool
    nvidia: bool
    groups: tuple[Quoted, ...]
    protect_home: Quoted
    deny_writable_code: bool
    binds_privileged_port: bool


class SystemdTarget:
    """Writes systemd/<host>/: units, the fetch lists and the program that the units call."""

    name = "systemd"

    def __init__(self, *, templates: Callable[[str], str]) -> None:
        self._renderer = Renderer(templates)

    def excludes(self, host_class: HostClass) -> Excluded | None:
        """Linux hosts alone have systemd."""
        if host_class.os == "linux":
            return None
        return Excluded(
            what=f"hosts with os {host_class.os}",
            rule="target",
            detail=f"systemd runs on linux only; {host_class.os} hosts can be run by target nomad with "
            "nomad_driver raw_exec",
        )

    def review(self, plan: Plan, cluster: Cluster) -> tuple[Diagnostic, ...]:
        """Launches without a program, replicas over several targets or out of reach, values that a unit can't hold."""
        instances = instances_of(plan, self.name)
        return (
            *review_mixed_targets(instances, cluster),
            *review_names(instances, cluster),
            *review_program(instances, cluster),
            *review_reach(instances, cluster),
            *review_watches(instances, cluster),
            *review_systemd_values(instances, cluster),
        )

    def render(self, plan: Plan, cluster: Cluster) -> Outcome[tuple[OutputFile, ...]]:
        """All units of all hosts that this target runs."""
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
        folder = f"systemd/{host.name}"
        fetches = fetches_of((instance.model, shard.launch) for instance, shard in here)
        units: dict[str, str] = {}
        files = [OutputFile(path=f"{folder}/host/gslc_host.py", text=self._renderer.text(HOST_PROGRAM))]
        for fetch in fetches.values():
            view = _fetch_view(cluster, fetch)
            units[fetch_unit(cluster, fetch.model)] = self._renderer.render("templates/systemd/fetch.service.j2", view)
            files.append(OutputFile(path=f"{folder}/host/{fetch.model}.fetch.json", text=fetch_json(fetch)))
        for instance, shard in here:
            service = _service_view(cluster, host, instance, shard, fetches, index)
            units[service_unit(cluster, shard.launch.name)] = self._renderer.render(
                "templates/systemd/server.service.j2", service
            )
            watched = _watched(instance, shard)
            if watched:
                watch = _watch_view(cluster, shard, watched)
                units[watch_unit(cluster, shard.launch.name)] = self._renderer.render(
                    "templates/systemd/watch.service.j2", watch
                )
        target = TargetView(
            title=q.text_value(f"Model servers of cluster {cluster} on {host.name}"),
            wants=tuple(q.unit_name(name) for name in sorted(units)),
        )
        units[target_unit(cluster)] = self._renderer.render("templates/systemd/cluster.target.j2", target)
        return files + [OutputFile(path=f"{folder}/{name}", text=text) for name, text in units.items()]


def target_unit(cluster: str) -> str:
    """The name of a host's target."""
    return f"gslc-{cluster}.target"


def service_unit(cluster: str, launch: str) -> str:
    """The name of the service of one launch."""
    return f"gslc-{cluster}-{launch}.service"


def fetch_unit(cluster: str, model: str) -> str:
    """The name of the service that fetches a model's files; instance names end in a number, so the two never meet."""
    return f"gslc-{cluster}-{model}-fetch.service"


def watch_unit(cluster: str, launch: str) -> str:
    """The name of the service that watches a worker's leader."""
    return f"gslc-{cluster}-{launch}-watch.service"


def _host_command(cluster: str, *arguments: str) -> tuple[str, ...]:
    return (f"/etc/gslc/{cluster}/gslc_host.py", *arguments)


def _fetch_view(cluster: str, fetch: Fetch) -> FetchView:
    arguments = _host_command(cluster, "fetch", f"/etc/gslc/{cluster}/{fetch.model}.fetch.json")
    command = q.command_line(_PYTHON, arguments)
    secret = next((file.token for file in fetch.files if file.token), None)
    if secret:
        # the specifier is systemd's own word, and so stays outside what is quoted
        command = Quoted(f"{command} --token-file %d/hub_token")
    return FetchView(
        title=q.text_value(f"Files of model {fetch.model} of cluster {cluster}"),
        target=q.unit_name(target_unit(cluster)),
        after=tuple(q.unit_name(fetch_unit(cluster, model)) for model in fetch.needs),
        make_folder=q.exec_argument(fetch.model_dir),
        command=command,
        writable=q.path_value(fetch.model_dir),
        credential=Quoted("hub_token") if secret else None,
        credential_path=q.whole_path(f"{_SECRETS}/{secret.lower()}") if secret else None,
    )


def _watched(instance: Instance, shard: Shard) -> str | None:
    """What a worker must watch, so that it restarts with its leader; systemd can't order units of two hosts."""
    leader = instance.shards[0]
    if shard.role != "worker" or not shard.launch.group_restart or leader.host == shard.host:
        return None
    address = remote_address(leader)
    return probe(leader.launch, address) if address else None


def _watch_view(cluster: str, shard: Shard, watched: str) -> WatchView:
    return WatchView(
        title=q.text_value(f"Watch over the leader of {shard.launch.name} of cluster {cluster}"),
        target=q.unit_name(target_unit(cluster)),
        command=q.command_line(_PYTHON, _host_command(cluster, "watch", watched)),
        start_seconds=_MARGIN_SECONDS,
    )


def _service_view(
    cluster: str,
    host: Host,
    instance: Instance,
    shard: Shard,
    fetches: Mapping[str, Fetch],
    index: Mapping[str, Instance],
) -> ServiceView:
    launch = shard.launch
    own = service_unit(cluster, launch.name)
    requires = _requires(cluster, instance, shard, fetches)
    after = sorted({*requires, *_same_cards(cluster, instance, shard, index)})
    remote, remote_seconds = _remote_wait(cluster, instance, shard)
    start_seconds = remote_seconds + launch.start_seconds + _MARGIN_SECONDS
    directory = own.removesuffix(".service")
    return ServiceView(
        title=q.text_value(f"{launch.name} of cluster {cluster}: {instance.served_name} ({instance.backend})"),
        target=q.unit_name(target_unit(cluster)),
        requires=tuple(q.unit_name(name) for name in requires),
        after=tuple(q.unit_name(name) for name in after),
        start_interval_seconds=_START_BURST * (start_seconds + _RESTART_SECONDS + launch.stop_seconds),
        start_burst=_START_BURST,
        environment=_environment(launch, host, directory),
        environment_files=tuple(
            q.whole_path(f"{_SECRETS}/{secret}.env") for secret in sorted({name for _, name in launch.secret_env})
        ),
        hub_token=q.whole_path(f"{_SECRETS}/hf_token") if launch.hub_token else None,
        wait_before=remote,
        command=q.command_line(launch.program, launch.argv),
        wait_after=_ready_wait(cluster, launch),
        restart=Quoted(launch.restart),
        restart_seconds=_RESTART_SECONDS,
        start_seconds=start_seconds,
        stop_seconds=launch.stop_seconds,
        state_directory=q.exec_argument(directory),
        cache_directories=tuple(q.exec_argument(f"{directory}/{name}") for name in sorted(set(launch.cache_dirs))),
        gpu=bool(launch.gpus),
        nvidia=launch.vendor == "nvidia",
        groups=(Quoted("video"), Quoted("render")) if launch.vendor in ("amd", "intel") else (),
        protect_home=Quoted("read-only" if _below_home(launch) else "yes"),
        deny_writable_code=not launch.gpus and not launch.jit,
        binds_privileged_port=any(0 < port < _PRIVILEGED_PORTS for port in (launch.port, *launch.extra_ports)),
    )


def _below_home(launch: Launch) -> bool:
    folders = (launch.model_dir, *outside_folders(launch.files, launch.model_dir))
    # a shell is told the program as an argument of its own
    paths = (launch.program, *launch.argv, *(f"{folder}/" for folder in folders))
    return any(path.startswith(_HOMES) for path in paths)


def _requires(cluster: str, instance: Instance, shard: Shard, fetches: Mapping[str, Fetch]) -> tuple[str, ...]:
    """Units of this host without which the launch can't run: its files, what it is started after, what it watches."""
    shards = shards_by_name(instance)
    units = {service_unit(cluster, name) for name in shard.launch.after if shards[name].host == shard.host}
    if shard.launch.files:
        fetch = fetches[instance.model]
        units |= {fetch_unit(cluster, model) for model in (fetch.model, *fetch.needs)}
    if _watched(instance, shard):
        units.add(watch_unit(cluster, shard.launch.name))
    return tuple(sorted(units))


def _same_cards(cluster: str, instance: Instance, shard: Shard, index: Mapping[str, Instance]) -> set[str]:
    """Units of this host that must be ready before this one measures what is free on the cards they share."""
    return {
        service_unit(cluster, other.launch.name)
        for name in instance.startup_group
        for other in index[name].shards
        if other.host == shard.host and set(other.gpus) & set(shard.gpus)
    }


def _remote_wait(cluster: str, instance: Instance, shard: Shard) -> tuple[Quoted | None, int]:
    """The command that waits for launches on other hosts, and how long it may."""
    shards = shards_by_name(instance)
    remote = [shards[name] for name in shard.launch.after if shards[name].host != shard.host]
    probes = [
        found for other in remote if (address := remote_address(other)) and (found := probe(other.launch, address))
    ]
    if not probes:
        return None, 0
    seconds = max(other.launch.start_seconds for other in remote)
    arguments = _host_command(cluster, "wait", "--seconds", str(seconds), *probes)
    return q.command_line(_PYTHON, arguments), seconds


def _ready_wait(cluster: str, launch: Launch) -> Quoted | None:
    """The command that waits until the launch answers, or its process is gone."""
    found = probe(launch, local_address(launch))
    if not found:
        return None
    before = q.command_line(_PYTHON, _host_command(cluster, "wait"))
    # $MAINPID is systemd's own word, and so stays outside what is quoted
    return Quoted(f"{before} --pid ${{MAINPID}} --seconds {launch.start_seconds} {q.exec_argument(found)}")


def _environment(launch: Launch, host: Host, directory: str) -> tuple[Quoted, ...]:
    """All variables, sorted by name: the backend's, the cards', the folders', and a home that can be written."""
    secret = {variable for variable, _ in launch.secret_env}
    lines = {name: q.environment(name, value) for name, value in launch.env if name not in secret}
    lines |= {name: q.environment(name, value) for name, value in process_variables(launch, host)}
    for variable, folder in launch.cache_env:
        lines[variable] = q.environment_below(variable, "%C", f"{directory}/{folder}")
    lines["HOME"] = q.environment_below("HOME", "%S", directory)
    if launch.hub_token:
        lines["HF_TOKEN_PATH"] = q.environment_below("HF_TOKEN_PATH", "%d", "hf_token")
    return tuple(lines[name] for name in sorted(lines))
