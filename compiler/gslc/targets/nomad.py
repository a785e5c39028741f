"""Nomad: one job a model, one group an instance and role, pinned to the node that the plan names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gslc.contracts import instances_of
from gslc.ir.diagnostic import Diagnostic, Excluded, Outcome
from gslc.ir.inputs import Cluster, Host
from gslc.ir.output import OutputFile
from gslc.ir.placement import HostClass
from gslc.ir.plan import Instance, Launch, Plan, Shard
from gslc.ir.record import dataclass
from gslc.targets import quoting_hcl as q
from gslc.targets.addresses import local_address, probe, remote_address, shards_by_name
from gslc.targets.devices import container_variables, device_ids, device_nodes, pins_memory, process_variables
from gslc.targets.fetch import HOST_PROGRAM, Fetch, fetch_json, fetches_of, outside_folders
from gslc.targets.nomad_rules import GpuWay, gpu_ways, nomad_driver, review_nomad
from gslc.targets.render import Quoted, Renderer

HELPER_IMAGE = "docker.io/library/python:3.13-slim"
_MIB = 1 << 20
# Nomad refuses less than 10 MB; this is what a small server and its runtime take at least.
_LEAST_MEMORY_MIB = 512
# What a first download is granted a second, so that a deployment isn't called failed while files arrive.
_FETCH_BYTES_PER_SECOND = 10_000_000
_DEADLINE_MARGIN_SECONDS = 300
_MARKER = "GSLC_HOST_PROGRAM"
_LIST_MARKER = "GSLC_FILES"

Pairs = tuple[tuple[Quoted, Quoted], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperView:
    """A prestart task: it fetches files, or waits for ports."""

    name: Quoted
    driver: Quoted
    docker: bool
    image: Quoted
    python: Quoted
    program: Quoted
    arguments: tuple[Quoted, ...]
    mounts: tuple[tuple[Quoted, bool], ...]  # folder of the host, and whether it is only read
    list_name: Quoted | None  # of the local that holds the list of files
    token: Quoted | None  # the template that brings the hub's token
    delimiters: tuple[Quoted, Quoted]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """The task that runs the process."""

    driver: Quoted
    docker: bool
    command: Quoted  # raw_exec
    image: Quoted
    entrypoint: tuple[Quoted, ...]
    arguments: tuple[Quoted, ...]
    mounts: tuple[tuple[Quoted, bool], ...]
    shared_memory: int
    pins_memory: bool
    runtime: Quoted | None
    devices: tuple[Quoted, ...]
    groups: tuple[Quoted, ...]
    environment: Pairs
    secrets: Quoted | None
    token: Quoted | None
    device_ids: Quoted | None  # the exclusive device block
    device_count: int
    memory_mib: int
    memory_limit_mib: int
    kill_timeout: Quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """One process on one node."""

    name: Quoted
    node: Quoted
    os: Quoted
    arch: Quoted
    ports: tuple[tuple[Quoted, int], ...]
    service: Quoted | None
    address: Quoted
    tags: tuple[Quoted, ...]
    health_path: Quoted | None
    grace: Quoted
    health_check: Quoted
    healthy_deadline: Quoted
    progress_deadline: Quoted
    helpers: tuple[HelperView, ...]
    task: TaskView
    cards_by_variables: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A model's job."""

    title: Quoted
    name: Quoted
    meta: Pairs
    program: Quoted | None  # the helper program, as a heredoc's text
    lists: tuple[tuple[Quoted, Quoted], ...]  # name and heredoc text of each list of files
    groups: tuple[GroupView, ...]


class NomadTarget:
    """Writes nomad/: one job file a model."""

    name = "nomad"

    def __init__(self, *, templates: Callable[[str], str]) -> None:
        self._renderer = Renderer(templates)

    def excludes(self, host_class: HostClass) -> Excluded | None:
        """Nomad runs everywhere, its docker driver on Linux."""
        if host_class.os == "linux" or host_class.nomad_driver != "docker":
            return None
        return Excluded(
            what=f"hosts with os {host_class.os} and nomad_driver docker",
            rule="target",
            detail=f"containers on {host_class.os} are given no GPU; nomad_driver raw_exec runs there",
        )

    def review(self, plan: Plan, cluster: Cluster) -> tuple[Diagnostic, ...]:
        """What a job can't hold."""
        return review_nomad(plan, cluster)

    def render(self, plan: Plan, cluster: Cluster) -> Outcome[tuple[OutputFile, ...]]:
        """The jobs of all models that this target runs."""
        hosts = {host.name: host for host in cluster.hosts}
        instances = instances_of(plan, self.name)
        index = {instance.name: instance for instance in plan.instances}
        program = q.heredoc(self._renderer.text(HOST_PROGRAM), _MARKER)
        ways = gpu_ways(plan, hosts)
        by_model: dict[str, list[Instance]] = {}
        for instance in instances:
            by_model.setdefault(instance.model, []).append(instance)
        files = [
            OutputFile(
                path=f"nomad/{job_name(plan.cluster, model)}.nomad.hcl",
                text=self._renderer.render(
                    "templates/nomad/job.nomad.hcl.j2", _job_view(plan.cluster, own, hosts, index, ways, program)
                ),
            )
            for model, own in sorted(by_model.items())
        ]
        return Outcome(value=tuple(files))


def job_name(cluster: str, model: str) -> str:
    """The name of a model's job."""
    return f"gslc-{cluster}-{model}"


def _job_view(
    cluster: str,
    instances: list[Instance],
    hosts: Mapping[str, Host],
    index: Mapping[str, Instance],
    ways: Mapping[str, GpuWay],
    program: Quoted,
) -> JobView:
    first = instances[0]
    job = job_name(cluster, first.model)
    lists = _lists(instances)
    groups = tuple(
        _group_view(cluster, job, hosts[shard.host], instance, shard, index, ways, lists)
        for instance in instances
        for shard in instance.shards
    )
    helped = any(group.helpers for group in groups)
    return JobView(
        title=q.comment(f"Model {first.model} of cluster {cluster}"),
        name=q.string(job),
        meta=q.aligned(
            {
                "gslc.backend": q.string(f"{first.backend} {first.engine_version}"),
                "gslc.cluster": q.string(cluster),
                "gslc.model": q.string(first.model),
            }
        ),
        program=program if helped else None,
        lists=tuple((Quoted(name), q.heredoc(text, _LIST_MARKER)) for text, name in lists.items()),
        groups=groups,
    )


def _lists(instances: list[Instance]) -> dict[str, Quoted]:
    """The lists of files of a job by their text, each named once however many groups fetch them."""
    lists: dict[str, Quoted] = {}
    for instance in instances:
        for shard in instance.shards:
            for fetch in fetches_of([(instance.model, shard.launch)]).values():
                lists.setdefault(fetch_json(fetch), Quoted(f"files_{len(lists)}"))
    return lists


def _group_view(
    cluster: str,
    job: str,
    host: Host,
    instance: Instance,
    shard: Shard,
    index: Mapping[str, Instance],
    ways: Mapping[str, GpuWay],
    lists: Mapping[str, Quoted],
) -> GroupView:
    launch = shard.launch
    fetch = fetches_of([(instance.model, launch)]).get(instance.model)
    ports = tuple(port for port in (launch.port, *launch.extra_ports) if port)
    waits, wait_seconds = _waits(instance, shard, index)
    helpers = (
        *((_fetch_helper(job, host, launch, fetch, lists),) if fetch else ()),
        *((_wait_helper(host, launch, waits, wait_seconds),) if waits else ()),
    )
    fetch_bytes = sum(file.size_bytes for file in fetch.files) if fetch else 0
    loading = launch.start_seconds + wait_seconds + _DEADLINE_MARGIN_SECONDS
    deadline = loading + -(-fetch_bytes // _FETCH_BYTES_PER_SECOND)
    way = ways[host.name] if launch.gpus else None
    return GroupView(
        name=q.string(launch.name),
        node=q.string(host.name),
        os=q.string(host.os),
        arch=q.string(host.arch),
        ports=tuple((q.string("http" if place == 0 else f"extra{place}"), port) for place, port in enumerate(ports)),
        service=q.string(instance.model) if launch.health_path else None,
        address=q.string(local_address(launch)),
        tags=tuple(q.string(tag) for tag in (f"cluster={cluster}", f"replica={instance.replica}")),
        health_path=q.string(launch.health_path) if launch.health_path else None,
        grace=q.string(f"{loading}s"),
        health_check=q.string("checks" if launch.health_path else "task_states"),
        healthy_deadline=q.string(f"{deadline}s"),
        progress_deadline=q.string(f"{deadline + _DEADLINE_MARGIN_SECONDS}s"),
        helpers=helpers,
        task=_task_view(job, host, launch, way),
        cards_by_variables=way == "variables",
    )


def _waits(instance: Instance, shard: Shard, index: Mapping[str, Instance]) -> tuple[tuple[str, ...], int]:
    """What must answer before the process may start: parts of the instance, and instances on the same cards."""
    shards = shards_by_name(instance)
    others = [shards[name] for name in shard.launch.after]
    for name in instance.startup_group:
        others += [
            other for other in index[name].shards if other.host == shard.host and set(other.gpus) & set(shard.gpus)
        ]
    targets: list[str] = []
    for other in others:
        address = local_address(other.launch) if other.host == shard.host else remote_address(other)
        target = probe(other.launch, address) if address else None
        if target:
            targets.append(target)
    seconds = sum(other.launch.start_seconds for other in others) if targets else 0
    return tuple(targets), seconds


def _fetch_helper(job: str, host: Host, launch: Launch, fetch: Fetch, lists: Mapping[str, Quoted]) -> HelperView:
    secret = next((file.token.lower() for file in fetch.files if file.token and file.url), None)
    text = fetch_json(fetch)
    arguments = [q.string("fetch"), q.client_path("NOMAD_TASK_DIR", "fetch.json")]
    if secret:
        arguments += [q.string("--token-file"), q.client_path("NOMAD_SECRETS_DIR", "hub_token")]
    read = sorted({*outside_folders(fetch.files, fetch.model_dir), *fetch.mirrors})
    return _helper(
        "fetch",
        host,
        launch,
        arguments=tuple(arguments),
        mounts=((q.string(fetch.model_dir), False), *((q.string(folder), True) for folder in read)),
        list_name=lists[text],
        token=q.string(_variable(job, secret)) if secret else None,
        guarded=text,
    )


def _wait_helper(host: Host, launch: Launch, targets: tuple[str, ...], seconds: int) -> HelperView:
    words = ("wait", "--seconds", str(seconds), *targets)
    return _helper("wait", host, launch, arguments=tuple(q.string(word) for word in words))


def _helper(
    name: str,
    host: Host,
    launch: Launch,
    *,
    arguments: tuple[Quoted, ...],
    mounts: tuple[tuple[Quoted, bool], ...] = (),
    list_name: Quoted | None = None,
    token: Quoted | None = None,
    guarded: str = "",
) -> HelperView:
    driver = nomad_driver(host, launch)
    left = "<@"
    while left in guarded:
        left += "@"
    return HelperView(
        name=q.string(name),
        driver=q.string(driver),
        docker=driver == "docker",
        image=q.string(HELPER_IMAGE),
        # the launcher of python.org's Windows package; elsewhere the system's own
        python=q.string("python.exe" if host.os == "windows" else "/usr/bin/python3"),
        program=q.client_path("NOMAD_TASK_DIR", "gslc_host.py"),
        arguments=arguments,
        mounts=mounts,
        list_name=list_name,
        token=token,
        delimiters=(q.string(left), q.string("@>")),
    )


def _item(secret: str) -> str:
    """The key of a secret in a Nomad variable, where templates take no hyphen."""
    return secret.replace("-", "_")


def _variable(job: str, name: str) -> str:
    """A template that prints one item of the job's own Nomad variable, or nothing where there is none."""
    path = f"nomad/jobs/{job}"
    item = _item(name)
    ends = "{{ end }}" * 3
    return (
        f'{{{{ if nomadVarExists "{path}" }}}}{{{{ with nomadVar "{path}" }}}}{{{{ with .{item} }}}}{{{{ . }}}}{ends}'
    )


def _secret_lines(job: str, launch: Launch) -> str:
    """The template of a task's secret variables; the task waits until they are there."""
    path = f"nomad/jobs/{job}"
    lines = [
        f'{variable}={{{{ with nomadVar "{path}" }}}}{{{{ .{_item(secret)}.Value | toJSON }}}}{{{{ end }}}}\n'
        for variable, secret in sorted(launch.secret_env)
    ]
    return "".join(lines)


def _task_view(job: str, host: Host, launch: Launch, way: GpuWay | None) -> TaskView:
    driver = nomad_driver(host, launch)
    docker = driver == "docker"
    nvidia = launch.vendor == "nvidia"
    argv = launch.isolated_argv if docker and launch.isolated_argv is not None else launch.argv
    by_device = way == "device" and nvidia
    memory = max(_LEAST_MEMORY_MIB, -(-launch.memory_bytes // _MIB))
    folders = [launch.model_dir] if launch.model_dir else []
    folders += outside_folders(launch.files, launch.model_dir)
    return TaskView(
        driver=q.string(driver),
        docker=docker,
        command=q.string(launch.program),
        image=q.string(launch.image or ""),
        entrypoint=tuple(q.string(word) for word in launch.image_entrypoint or ()),
        arguments=tuple(q.string(word) for word in argv),
        mounts=tuple((q.string(folder), True) for folder in folders) if docker else (),
        shared_memory=launch.shared_memory_bytes,
        pins_memory=docker and pins_memory(launch),
        runtime=_runtime(launch, way),
        devices=tuple(q.string(node) for node in device_nodes(launch)) if docker else (),
        groups=(q.string("video"),) if docker and launch.vendor in ("amd", "intel") else (),
        environment=_environment(host, launch, docker, by_device),
        secrets=q.string(_secret_lines(job, launch)) if launch.secret_env else None,
        token=q.string(_variable(job, "hf_token")) if launch.hub_token else None,
        device_ids=q.string(",".join(device_ids(launch, host))) if by_device else None,
        device_count=len(launch.gpus),
        memory_mib=memory,
        memory_limit_mib=max(memory, host.memory_bytes // _MIB),
        kill_timeout=q.string(f"{launch.stop_seconds}s"),
    )


def _runtime(launch: Launch, way: str | None) -> Quoted | None:
    """Docker's runtime: with a device block the driver chooses NVIDIA's by itself."""
    if launch.vendor == "mthreads":
        return q.string("mthreads")
    return q.string("nvidia") if launch.vendor == "nvidia" and way == "variables" else None


def _environment(host: Host, launch: Launch, docker: bool, by_device: bool) -> Pairs:
    secret = {variable for variable, _ in launch.secret_env}
    values = {name: q.string(value) for name, value in launch.env if name not in secret}
    cards = container_variables(launch, host) if docker else process_variables(launch, host)
    values |= {name: q.string(value) for name, value in cards}
    if docker and launch.vendor == "nvidia" and not by_device:
        values["NVIDIA_VISIBLE_DEVICES"] = q.string(",".join(device_ids(launch, host)))
    for variable, folder in launch.cache_env:
        values[variable] = q.client_path("NOMAD_ALLOC_DIR", f"data/{folder}")
    if launch.hub_token:
        values["HF_TOKEN_PATH"] = q.client_path("NOMAD_SECRETS_DIR", "hf_token")
    return q.aligned(values)
