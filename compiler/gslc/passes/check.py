"""The finished plan, read again by someone who did not make it: every rule, from the plan and the cluster alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from gslc.ir.diagnostic import Diagnostic
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Cluster, Host
from gslc.ir.plan import Instance, Plan, Shard

HELP = "this is a fault in gslc: please report it with the cluster file and the lock"


def check_plan(plan: Plan, cluster: Cluster, facts: Mapping[str, ModelFacts]) -> tuple[Diagnostic, ...]:
    """What is wrong with a finished plan; () when it keeps every rule. Shares no code with the placer."""
    checker = _Checker(plan, cluster, facts)
    return tuple(
        Diagnostic(code=code, message=message, place=cluster.places.key("models", model), help=HELP)
        for code, model, message in checker.findings()
    )


class _Checker:
    """A plan and its cluster, indexed by name. A finding is (code, model, message)."""

    def __init__(self, plan: Plan, cluster: Cluster, facts: Mapping[str, ModelFacts]) -> None:
        self.plan = plan
        self.cluster = cluster
        self.facts = facts
        self.hosts = {host.name: host for host in cluster.hosts}
        self.models = {model.name: model for model in cluster.models}

    def findings(self) -> Iterator[tuple[str, str, str]]:
        """All findings; memory and ports are only added up where every host and card exists."""
        strangers = list(self._strangers())
        yield from strangers
        yield from self._names()
        yield from self._replicas()
        for instance in self.plan.instances:
            yield from self._flags(instance)
        if strangers:
            return
        yield from self._gpu_memory()
        yield from self._host_memory()
        yield from self._exclusivity()
        yield from self._ports()
        for instance in self.plan.instances:
            yield from self._rules(instance)
        yield from self._anti_affinity()

    # ------------------------------------------------------------ existence

    def _strangers(self) -> Iterator[tuple[str, str, str]]:
        for instance in self.plan.instances:
            if instance.model not in self.models:
                yield "GS515", instance.model, f"{instance.name} belongs to no model of the cluster"
            for shard in instance.shards:
                host = self.hosts.get(shard.host)
                if host is None:
                    yield "GS513", instance.model, f"{instance.name} lies on {shard.host}, which is not a host"
                    continue
                if host.target != instance.target:
                    message = f"{instance.name} is for {instance.target}, but {host.name} has target {host.target}"
                    yield "GS513", instance.model, message
                unknown = sorted(set(shard.gpus) - {gpu.index for gpu in host.gpus})
                if unknown:
                    yield "GS503", instance.model, f"{instance.name} uses GPU {unknown[0]}, which {host.name} lacks"
                if len(set(shard.gpus)) < len(shard.gpus):
                    yield "GS503", instance.model, f"{instance.name} names a GPU of {host.name} twice: {shard.gpus}"
                if len(shard.memory.gpus) != len(shard.gpus):
                    message = f"{instance.name}: {len(shard.gpus)} GPUs, but memory for {len(shard.memory.gpus)}"
                    yield "GS503", instance.model, message

    def _names(self) -> Iterator[tuple[str, str, str]]:
        processes = Counter(shard.launch.name for instance in self.plan.instances for shard in instance.shards)
        instances = Counter(instance.name for instance in self.plan.instances)
        for instance in self.plan.instances:
            if instances[instance.name] > 1:
                yield "GS510", instance.model, f"{instances[instance.name]} instances are called {instance.name}"
            for shard in instance.shards:
                if processes[shard.launch.name] > 1:
                    message = f"{processes[shard.launch.name]} processes are called {shard.launch.name}"
                    yield "GS510", instance.model, message

    def _replicas(self) -> Iterator[tuple[str, str, str]]:
        seen: defaultdict[str, list[int]] = defaultdict(list)
        for instance in self.plan.instances:
            seen[instance.model].append(instance.replica)
        for missing in self.plan.unplaced:
            seen[missing.model].append(missing.replica)
        for name, model in self.models.items():
            if sorted(seen[name]) != list(range(model.replicas)):
                yield "GS515", name, f"{name} has {model.replicas} replicas, the plan knows {sorted(seen[name])}"

    # ------------------------------------------------------------ memory

    def _shards(self) -> Iterator[tuple[Instance, Shard, Host]]:
        for instance in self.plan.instances:
            for shard in instance.shards:
                yield instance, shard, self.hosts[shard.host]

    def _gpu_memory(self) -> Iterator[tuple[str, str, str]]:
        used: defaultdict[tuple[str, int], int] = defaultdict(int)
        last: dict[tuple[str, int], Instance] = {}
        for instance, shard, host in self._shards():
            for card, memory in zip(shard.gpus, shard.memory.gpus, strict=True):
                used[host.name, card] += memory.total
                last[host.name, card] = instance
        for (name, card), total in sorted(used.items()):
            host = self.hosts[name]
            size = next(gpu.kind.memory_bytes for gpu in host.gpus if gpu.index == card)
            if total > size - host.reserved_gpu_memory_bytes and total > 0:
                kept = host.reserved_gpu_memory_bytes
                message = f"GPU {card} of {name} is given {total:,} bytes and has {size:,} with {kept:,} reserved"
                yield "GS500", last[name, card].model, message

    def _host_memory(self) -> Iterator[tuple[str, str, str]]:
        used: defaultdict[str, int] = defaultdict(int)
        last: dict[str, Instance] = {}
        for instance, shard, host in self._shards():
            used[host.name] += shard.memory.host.total
            if host.unified_memory:
                used[host.name] += sum(memory.total for memory in shard.memory.gpus)
            last[host.name] = instance
        for name, total in sorted(used.items()):
            host = self.hosts[name]
            if total > host.memory_bytes - host.reserved_memory_bytes and total > 0:
                kept = host.reserved_memory_bytes
                message = f"{name} is given {total:,} bytes and has {host.memory_bytes:,} with {kept:,} reserved"
                yield "GS501", last[name].model, message

    def _exclusivity(self) -> Iterator[tuple[str, str, str]]:
        users: defaultdict[tuple[str, int], dict[str, Instance]] = defaultdict(dict)
        for instance, shard, host in self._shards():
            for card in shard.gpus:
                users[host.name, card][instance.name] = instance
        for (name, card), sharing in sorted(users.items()):
            alone = [instance for instance in sharing.values() if instance.exclusive or self._wants_alone(instance)]
            if alone and len(sharing) > 1:
                message = (
                    f"{alone[0].name} must be alone on GPU {card} of {name}, which {', '.join(sorted(sharing))} share"
                )
                yield "GS502", alone[0].model, message

    def _wants_alone(self, instance: Instance) -> bool:
        return self.models[instance.model].exclusive_gpus

    # ------------------------------------------------------------ ports

    def _ports(self) -> Iterator[tuple[str, str, str]]:
        first, last = self.cluster.port_range
        owners: dict[tuple[str, int], str] = {}
        for instance, shard, host in self._shards():
            own = self.models[instance.model].port
            ports = {port for port in (shard.port, shard.launch.port, *shard.launch.extra_ports) if port}
            for port in sorted(ports):
                owner = owners.setdefault((host.name, port), shard.launch.name)
                if owner != shard.launch.name:
                    yield (
                        "GS504",
                        instance.model,
                        f"{owner} and {shard.launch.name} both use port {port} of {host.name}",
                    )
                if port != own and not first <= port <= last:
                    message = f"{shard.launch.name} uses port {port}, outside of {first}-{last}"
                    yield "GS505", instance.model, message
        for instance in self.plan.instances:
            own = self.models[instance.model].port
            if own is not None and instance.port != own:
                yield "GS505", instance.model, f"{instance.name} answers on port {instance.port}, the model says {own}"

    # ------------------------------------------------------------ rules of one instance

    def _rules(self, instance: Instance) -> Iterator[tuple[str, str, str]]:
        model = self.models[instance.model]
        pins = set(model.gpus)
        for shard in instance.shards:
            host = self.hosts[shard.host]
            wanted = {**instance.selector, **dict(model.host_selector or ())}
            for label, value in sorted(wanted.items()):
                if host.labels.get(label) != value:
                    message = f"{instance.name} wants {label}={value}, and {host.name} has {host.labels.get(label)}"
                    yield "GS506", model.name, message
            outside = [card for card in shard.gpus if pins and (host.name, card) not in pins]
            if outside:
                message = f"{instance.name} uses {host.name}/{outside[0]}, which is not among its `gpus`"
                yield "GS508", model.name, message
            if shard.launch.gpus != shard.gpus or shard.launch.host != shard.host:
                message = f"{shard.launch.name} is started on {shard.launch.host} with GPUs {shard.launch.gpus}"
                yield "GS516", model.name, f"{message}, its shard has {shard.host} and {shard.gpus}"
            if not shard.launch.program and shard.launch.image is None:
                yield "GS517", model.name, f"{shard.launch.name} has neither a program nor an image"
        yield from self._parts(instance)

    def _parts(self, instance: Instance) -> Iterator[tuple[str, str, str]]:
        used = [shard.host for shard in instance.shards if shard.role != "rpc"]
        remote = {shard.host for shard in instance.shards if shard.role == "rpc"}
        shared = [name for name, count in Counter(used).items() if count > 1] + sorted(remote & set(used))
        if shared:
            yield "GS509", instance.model, f"{instance.name} has two parts on {shared[0]}"
        cards = Counter((shard.host, card) for shard in instance.shards for card in shard.gpus)
        twice = [place for place, count in sorted(cards.items()) if count > 1]
        if twice:
            yield "GS503", instance.model, f"{instance.name} has two processes on GPU {twice[0][1]} of {twice[0][0]}"
        names = {*used, *remote}
        if len(names) > 1:
            for name in sorted(names):
                if self.hosts[name].address is None:
                    yield "GS514", instance.model, f"{instance.name} spans hosts, and {name} has no address"

    def _anti_affinity(self) -> Iterator[tuple[str, str, str]]:
        replicas: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for instance, _, host in self._shards():
            if self.models[instance.model].anti_affinity == "host":
                replicas[instance.model, host.name].add(instance.name)
        for (model, where), names in sorted(replicas.items()):
            if len(names) > 1:
                yield "GS507", model, f"{' and '.join(sorted(names))} share {where}, which anti_affinity forbids"

    # ------------------------------------------------------------ flags

    def _flags(self, instance: Instance) -> Iterator[tuple[str, str, str]]:
        if not instance.shards:
            return
        if instance.backend == "vllm":
            yield from self._vllm_flags(instance)
        elif instance.backend in ("llama.cpp", "llama-box"):
            yield from self._llama_flags(instance)

    def _vllm_flags(self, instance: Instance) -> Iterator[tuple[str, str, str]]:
        argv = instance.shards[0].launch.argv
        tensor = _number(argv, ("--tensor-parallel-size", "-tp")) or 1
        pipeline = _number(argv, ("--pipeline-parallel-size", "-pp")) or 1
        data = _number(argv, ("--data-parallel-size", "-dp")) or 1
        cards = sum(len(shard.gpus) for shard in instance.shards)
        if tensor * pipeline * data != cards:
            message = f"{instance.name} is started for {tensor * pipeline * data} GPUs and has {cards}"
            yield "GS511", instance.model, message
        layout = instance.layout
        if (tensor, pipeline) != (layout.tensor_parallel, layout.pipeline_parallel):
            message = f"{instance.name} is started with {tensor} x {pipeline}, its layout says "
            yield "GS511", instance.model, message + f"{layout.tensor_parallel} x {layout.pipeline_parallel}"
        heads = self._heads(instance.model)
        if heads and heads % tensor:
            yield "GS512", instance.model, f"{instance.name} divides {heads} attention heads by {tensor}"

    def _heads(self, model: str) -> int | None:
        facts = self.facts.get(model)
        if facts is None or facts.safetensors is None:
            return None
        config = facts.safetensors.config
        for name in (None, "text_config", "llm_config", "language_config", "thinker_config"):
            inner = config if name is None else config.get(name)
            if isinstance(inner, Mapping):
                heads = inner.get("num_attention_heads")
                if isinstance(heads, int) and not isinstance(heads, bool):
                    return heads
        return None

    def _llama_flags(self, instance: Instance) -> Iterator[tuple[str, str, str]]:
        argv = instance.shards[0].launch.argv
        layout, remote = instance.layout, [shard for shard in instance.shards if shard.role == "rpc"]
        devices = len(instance.shards[0].gpus) + len(remote)
        layers = _number(argv, ("--gpu-layers", "--n-gpu-layers", "-ngl"))
        if layers is not None and layout.layers is not None:
            layers = min(layers, layout.layers)  # `-ngl 99` is the usual way to say all
        if layers is not None and layout.gpu_layers is not None and layers != layout.gpu_layers:
            message = f"{instance.name} is started with {layers} layers on GPUs, its layout says {layout.gpu_layers}"
            yield "GS511", instance.model, message
        if devices == 0 and layers:
            yield "GS511", instance.model, f"{instance.name} is started with {layers} layers on GPUs and has none"
        split = _value(argv, ("--tensor-split", "-ts"))
        if split is not None and devices > 0:
            shares = split.replace("/", ",").split(",")
            if len(shares) != devices:
                yield "GS511", instance.model, f"{instance.name} splits over {len(shares)} devices and has {devices}"
            if layout.tensor_split is not None and tuple(shares) != tuple(str(share) for share in layout.tensor_split):
                yield "GS511", instance.model, f"{instance.name} splits {split}, its layout says {layout.tensor_split}"
        servers = _value(argv, ("--rpc",))
        count = len(servers.split(",")) if servers else 0
        if count != len(remote):
            yield "GS511", instance.model, f"{instance.name} is told of {count} RPC servers and has {len(remote)}"
        for shard in remote:
            if len(shard.gpus) != 1:
                yield (
                    "GS511",
                    instance.model,
                    f"{shard.launch.name} serves {len(shard.gpus)} GPUs, one each is the rule",
                )


def _value(argv: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """The last value of a flag, given as two words or with `=`; None where it is absent."""
    found = None
    for index, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in names:
            if equals:
                found = value
            elif index + 1 < len(argv):
                found = argv[index + 1]
    return found


def _number(argv: tuple[str, ...], names: tuple[str, ...]) -> int | None:
    value = _value(argv, names)
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 20 else None
