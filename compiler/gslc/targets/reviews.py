"""What a target can't do for a plan, as diagnostics at the place in the cluster file where it can be mended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from gslc.ir.diagnostic import Diagnostic
from gslc.ir.inputs import Cluster
from gslc.ir.plan import Instance, Launch, Shard
from gslc.targets.fetch import outside_folders
from gslc.targets.quoting_hcl import client_reference, is_kept

# Images that are known to be built without GGML_RPC (llama.cpp's .devops Dockerfiles; none sets it).
_WITHOUT_RPC = ("ghcr.io/ggml-org/llama.cpp:", "ghcr.io/ggerganov/llama.cpp:", "ghcr.io/ggml-org/llama.cpp@")
_CONTAINER_VENDORS = ("nvidia", "amd", "intel", "ascend", "mthreads")
_UNSPEAKABLE = re.compile("[\0\ud800-\udfff]")
_PATH_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def _every(_shard: Shard) -> bool:
    return True


def review_mixed_targets(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Replicas that span hosts of several targets."""
    targets = {host.name: host.target for host in cluster.hosts}
    for instance in instances:
        for shard in instance.shards:
            if targets[shard.host] == instance.target:
                continue
            yield Diagnostic(
                code="GS650",
                place=cluster.places.key("models", instance.model),
                message=f"replica {instance.name} spans hosts of different targets: {instance.shards[0].host} is "
                f"run by {instance.target}, {shard.host} by {targets[shard.host]}",
                help="choose hosts of one target with host_selector",
            )
            break


def review_names(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Parts of two models that would be one service of a host (a's a-0-rpc-1, and replica 1 of a-0-rpc)."""
    owners: dict[tuple[str, str], Instance] = {}
    for instance, shard in _shards(instances):
        first = owners.setdefault((shard.host, shard.launch.name), instance)
        if first is not instance:
            yield Diagnostic(
                code="GS662",
                place=cluster.places.key("models", instance.model),
                message=f"models {first.model} and {instance.model} would both have a service {shard.launch.name} "
                f"on {shard.host}",
                help=f"rename model {instance.model}",
            )


def review_program(
    instances: Iterable[Instance], cluster: Cluster, concerns: Callable[[Shard], bool] = _every
) -> Iterator[Diagnostic]:
    """Launches whose program is missing or not absolute, among the shards that run as processes."""
    for instance, shard in filter(lambda pair: concerns(pair[1]), _shards(instances)):
        program = shard.launch.program
        if program.startswith("/") or re.match(r"[A-Za-z]:[\\/]", program):
            continue
        found = f"is {program!r}, which is not an absolute path" if program else "is not given"
        yield Diagnostic(
            code="GS651",
            place=cluster.places.key("models", instance.model),
            message=f"the program that starts {shard.launch.name} on {shard.host} {found}",
            help="give the model a command that starts with an absolute path, or set engines.<engine>.path",
        )


def review_image(
    instances: Iterable[Instance], cluster: Cluster, concerns: Callable[[Shard], bool] = _every
) -> Iterator[Diagnostic]:
    """Launches without an image, with one without RPC, or with cards no container can be given, among containers."""
    for instance, shard in filter(lambda pair: concerns(pair[1]), _shards(instances)):
        launch = shard.launch
        place = cluster.places.at("models", instance.model, "image")
        if launch.image is None:
            yield Diagnostic(
                code="GS652",
                place=place,
                message=f"{instance.backend} {instance.engine_version} has no container image for {shard.host}, "
                f"where {launch.name} is to run",
                help=f"set models.{instance.model}.image, or run {shard.host} with target systemd",
            )
        elif _wants_rpc(instance) and launch.image.startswith(_WITHOUT_RPC):
            yield Diagnostic(
                code="GS653",
                place=place,
                message=f"{launch.name} spans hosts by RPC, which image {launch.image} is built without",
                help="build an image with -DGGML_RPC=ON and name it in engines.llama.cpp.image, or use target systemd",
            )
        if launch.gpus and launch.vendor not in _CONTAINER_VENDORS:
            yield Diagnostic(
                code="GS657",
                place=cluster.places.key("hosts", shard.host),
                message=f"{launch.vendor or 'unknown'} cards of {shard.host} can't be given to a container, and "
                f"{launch.name} is to run in one",
                help=f"run {shard.host} with target systemd, or with target nomad and nomad_driver raw_exec",
            )


def review_mounts(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Folders that compose's short volume form can't name."""
    for _, shard in _shards(instances):
        launch = shard.launch
        for folder in (launch.model_dir, *outside_folders(launch.files, launch.model_dir)):
            if ":" in folder or _PATH_CONTROL.search(folder):
                yield Diagnostic(
                    code="GS655",
                    place=cluster.places.at("hosts", shard.host, "model_dir"),
                    message=f"compose can't mount {folder!r}, which {launch.name} reads: a colon ends a path there",
                    help="use a folder without colons, backslashes and control characters",
                )


# Arguments of engines that begin like paths and are routes.
_ROUTES = ("--root-path", "--root_path", "--disable-access-log-for-endpoints", "--disable_access_log_for_endpoints")


def review_paths(
    instances: Iterable[Instance], cluster: Cluster, contained: Callable[[Shard], bool] = lambda _: True
) -> Iterator[Diagnostic]:
    """Arguments of a model that name a file outside of the folders which its container is given.

    An image of the user's own may hold the file, so nothing is said of those.
    """
    models = {model.name: model for model in cluster.models}
    hosts = {host.name: host for host in cluster.hosts}
    told: set[tuple[str, int]] = set()
    for instance, shard in _shards(instances):
        model, launch = models.get(instance.model), shard.launch
        if model is None or instance.backend == "custom" or shard.role != "leader" or not contained(shard):
            continue
        pins = (hosts[shard.host].engines.get(instance.backend), cluster.engines.get(instance.backend))
        if model.image is not None or any(pin is not None and pin.image is not None for pin in pins):
            continue
        folders = (launch.model_dir, *outside_folders(launch.files, launch.model_dir))
        for index, word in enumerate(model.args):
            path = _path_in(model.args[index - 1] if index else "", word)
            inside = path is None or any(path == folder or path.startswith(f"{folder}/") for folder in folders)
            if path is None or inside or (model.name, index) in told:
                continue
            told.add((model.name, index))
            yield Diagnostic(
                code="GS665",
                severity="warning",
                place=cluster.places.at("models", model.name, "args", index),
                message=f"{path} lies outside of what the container of {instance.name} is given: {', '.join(folders)}",
                help=f"put the file below {launch.model_dir} on {shard.host}, or into an image of your own (key image)",
            )


def _path_in(before: str, word: str) -> str | None:
    """The absolute path that an argument gives: the word itself, or what stands behind a =; None where it is none."""
    flag, equals, value = word.partition("=")
    path = value if equals and not word.startswith("/") else word
    named = flag if equals else before
    return path if path.startswith("/") and named not in _ROUTES else None


def review_values(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Arguments and variables that no process can be given."""
    yield from _review_texts(
        instances,
        cluster,
        "GS655",
        lambda text: f"U+{ord(found.group()):04X}" if (found := _UNSPEAKABLE.search(text)) else None,
        "holds {found}, which no process can be given",
        "remove the character",
    )


def review_systemd_values(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Values that no unit can hold; paths are stricter than arguments there."""
    found = tuple(instances)
    yield from review_values(found, cluster)
    for instance, shard in _shards(found):
        paths = (shard.launch.program, shard.launch.model_dir)
        for path in paths:
            if _PATH_CONTROL.search(path):
                yield Diagnostic(
                    code="GS655",
                    place=cluster.places.key("models", instance.model),
                    message=f"{path!r} can't be written into a unit as a path",
                    help="use a path without control characters and backslashes",
                )


def review_client_references(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Arguments and variables in which Nomad's client would replace something."""
    yield from _review_texts(
        instances,
        cluster,
        "GS654",
        client_reference,
        "holds {found}, which Nomad's client would replace at run time",
        "write it without ${{...}}; Nomad knows no escape for it",
    )


def review_normal_form(instances: Iterable[Instance], cluster: Cluster) -> Iterator[Diagnostic]:
    """Arguments and variables that HCL would hand over in another Unicode form."""
    yield from _review_texts(
        instances,
        cluster,
        "GS661",
        lambda text: None if is_kept(text) else "decomposed or compatibility characters",
        "holds {found}, which a Nomad job file would change",
        "write it in Unicode normal form C",
    )


def _review_texts(
    instances: Iterable[Instance],
    cluster: Cluster,
    code: str,
    find: Callable[[str], str | None],
    message: str,
    remedy: str,
) -> Iterator[Diagnostic]:
    for instance, shard in _shards(instances):
        for what, path, text in _texts(instance, shard.launch):
            found = find(text)
            if found:
                yield Diagnostic(
                    code=code,
                    place=cluster.places.at(*path),
                    message=f"{what} of {shard.launch.name} {message.format(found=found)}",
                    help=remedy.format(),
                )
                break


def _texts(instance: Instance, launch: Launch) -> Iterator[tuple[str, tuple[str | int, ...], str]]:
    """Everything that reaches a process as text: what it is, where it came from, and the text."""
    model = ("models", instance.model)
    for word in (launch.program, *launch.argv, *(launch.isolated_argv or ())):
        yield f"argument {word!r}", (*model, "args"), word
    for word in (*(launch.image_entrypoint or ()), launch.image or ""):
        yield f"image word {word!r}", (*model, "image"), word
    for name, value in launch.env:
        yield f"variable {name}", (*model, "env", name), value
    for file in launch.files:
        yield f"file {file.path!r}", (*model, "source"), file.path


def _wants_rpc(instance: Instance) -> bool:
    return any(shard.role == "rpc" for shard in instance.shards)


def _shards(instances: Iterable[Instance]) -> Iterator[tuple[Instance, Shard]]:
    for instance in instances:
        for shard in instance.shards:
            yield instance, shard
