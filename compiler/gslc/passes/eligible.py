"""Who may run what: the backend of every model, the hosts it may use, and the ways to lay it out there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from gslc.contracts import Backend, Registry
from gslc.engines.variables import review_variables
from gslc.ir.diagnostic import Decision, Diagnostic, Excluded, Outcome, has_errors
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Cluster, Model
from gslc.ir.placement import Candidates, Choice, HostClass, HostGroup, Options, Request
from gslc.passes.host_classes import classify_hosts

VLLM_SELECTOR = (("arch", "amd64"), ("os", "linux"))  # vLLM publishes wheels and images for this platform only
NAMES_SHOWN = 3  # hosts named in a message before "and N more"


def find_candidates(
    cluster: Cluster, facts: Mapping[str, ModelFacts], registry: Registry
) -> Outcome[tuple[Candidates, ...]]:
    """The candidates of every model, sorted by model name.

    A model that no host can run is an error, and has candidates without hosts, so that the rest can still be placed.
    Errors in a model's own settings leave no value.
    """
    finder = _Finder(cluster, registry)
    found: list[Candidates] = []
    broken = False
    for model in sorted(cluster.models, key=lambda model: model.name):
        candidates = finder.candidates_of(model, facts.get(model.name))
        if candidates is None:
            broken = True
        else:
            found.append(candidates)
    diagnostics = (*finder.diagnostics, *_llama_box_warning(cluster, found))
    decisions = tuple(decision for candidates in found for decision in candidates.decisions)
    return Outcome(value=None if broken else tuple(found), decisions=decisions, diagnostics=diagnostics)


class _Finder:
    """The host classes of one cluster, and what many models ask of them in common."""

    def __init__(self, cluster: Cluster, registry: Registry) -> None:
        self.cluster = cluster
        self.registry = registry
        self.diagnostics: list[Diagnostic] = []
        self.class_of = classify_hosts(cluster, registry)
        self.hosts: dict[int, tuple[tuple[HostGroup, ...], tuple[str, ...]]] = {}  # by identity of the groups
        self.selections: dict[object, tuple[tuple[HostGroup, ...], tuple[Excluded, ...]]] = {}

    def candidates_of(self, model: Model, facts: ModelFacts | None) -> Candidates | None:
        """The candidates of one model, or None with an error diagnostic added."""
        name, choice_of_backend = choose_backend(model, facts, self.cluster)
        backend = self.registry.backends.get(name)
        if backend is None:
            self.diagnostics.append(self._unknown_backend(model, name))
            return None
        if facts is None and model.source is not None and name != "custom":
            self.diagnostics.append(self._without_facts(model))
            return None
        selector, choice_of_selector = choose_selector(model, name, self.cluster)
        request = Request(model=model, facts=facts, backend=name, selector=dict(selector), cluster=self.cluster)
        review = (*backend.review(request), *review_variables(request))
        self.diagnostics.extend(review)
        if has_errors(review):
            return None
        groups, excluded = self._eligible(request, selector, backend)
        hosts = self._hosts_of(groups)
        if not hosts:
            self.diagnostics.append(self._no_host(model, name, excluded))
        has_gpu = any(group.host_class.gpu_kinds for group in groups)
        options = LazyOptions(groups, lambda host_class: _allowed(backend.options(request, host_class), model, has_gpu))
        return Candidates(
            request=request,
            hosts=hosts,
            options=options,
            excluded=excluded,
            decisions=(choice_of_backend, choice_of_selector),
            groups=groups,
            vary=lambda other, host_class: _allowed(
                backend.options(other, host_class), other.model, bool(host_class.gpu_kinds)
            ),
        )

    def _hosts_of(self, groups: tuple[HostGroup, ...]) -> tuple[str, ...]:
        """The names of all hosts of some groups, sorted; one object for all models that have the same groups."""
        known = self.hosts.get(id(groups))
        if known is None:
            known = self.hosts[id(groups)] = (groups, tuple(sorted(host for group in groups for host in group.hosts)))
        return known[1]

    def _eligible(
        self, request: Request, selector: tuple[tuple[str, str], ...], backend: Backend
    ) -> tuple[tuple[HostGroup, ...], tuple[Excluded, ...]]:
        selected, excluded = self._selected(selector, request.model.gpus)
        groups: list[HostGroup] = []
        refused: list[Excluded] = []
        for group in selected:
            reasons = backend.excludes(request, group.host_class)
            if reasons:
                refused.extend(replace(reason, what=names_of(group.hosts)) for reason in reasons)
            else:
                groups.append(group)
        return tuple(groups) if refused else selected, (*excluded, *refused) if refused else excluded

    def _selected(
        self, selector: tuple[tuple[str, str], ...], pins: tuple[tuple[str, int], ...]
    ) -> tuple[tuple[HostGroup, ...], tuple[Excluded, ...]]:
        """Hosts by class that the selector, the pins and their own target allow; one answer for all who ask it."""
        pinned = frozenset(host for host, _ in pins)
        key = (selector, pinned)
        if key not in self.selections:
            self.selections[key] = self._select(selector, pinned)
        return self.selections[key]

    def _select(
        self, selector: tuple[tuple[str, str], ...], pinned: frozenset[str]
    ) -> tuple[tuple[HostGroup, ...], tuple[Excluded, ...]]:
        members: dict[HostClass, list[str]] = {}
        refused: dict[tuple[str, str], list[str]] = {}
        target_refusals: dict[HostClass, Excluded | None] = {}
        for host in sorted(self.cluster.hosts, key=lambda host: host.name):
            host_class = self.class_of[host.name]
            reason = _label_refusal(selector, host.labels)
            if reason is None and pinned and host.name not in pinned:
                reason = ("gpus", f"the model's `gpus` name {names_of(tuple(sorted(pinned)))} only")
            if reason is None:
                if host_class not in target_refusals:
                    target_refusals[host_class] = self._target_refusal(host_class)
                refusal = target_refusals[host_class]
                reason = (refusal.rule, refusal.detail) if refusal is not None else None
            if reason is None:
                members.setdefault(host_class, []).append(host.name)
            else:
                refused.setdefault(reason, []).append(host.name)
        groups = tuple(HostGroup(host_class=host_class, hosts=tuple(names)) for host_class, names in members.items())
        excluded = tuple(
            Excluded(what=names_of(tuple(names)), rule=rule, detail=detail)
            for (rule, detail), names in sorted(refused.items())
        )
        return groups, excluded

    def _target_refusal(self, host_class: HostClass) -> Excluded | None:
        target = self.registry.targets.get(host_class.target)
        if target is None:
            known = ", ".join(sorted(self.registry.targets))
            return Excluded(what="", rule="target", detail=f"target {host_class.target} is unknown; known are {known}")
        return target.excludes(host_class)

    # ------------------------------------------------------------ diagnostics

    def _unknown_backend(self, model: Model, name: str) -> Diagnostic:
        return Diagnostic(
            code="GS382",
            message=f"model {model.name}: there is no backend {name}",
            place=self.cluster.places.at("models", model.name, "backend"),
            help=f"use one of {', '.join(sorted(self.registry.backends))}",
        )

    def _without_facts(self, model: Model) -> Diagnostic:
        return Diagnostic(
            code="GS383",
            message=f"model {model.name}: the lock has no facts about its source",
            place=self.cluster.places.at("models", model.name, "source"),
            help=f"run `gslc lock {self.cluster.file}`",
        )

    def _no_host(self, model: Model, backend: str, excluded: tuple[Excluded, ...]) -> Diagnostic:
        reasons = "; ".join(f"{reason.what}: {reason.detail}" for reason in excluded) or "the cluster has no hosts"
        rules = {reason.rule for reason in excluded}
        return Diagnostic(
            code="GS380",
            message=f"no host can run model {model.name} with {backend}: {reasons}",
            place=self.cluster.places.key("models", model.name),
            help=_no_host_help(model, backend, rules),
        )


class LazyOptions(Mapping[HostClass, Options]):
    """The options of one model by host class, each worked out when it is first asked for."""

    __slots__ = ("_found", "_make")

    def __init__(self, groups: tuple[HostGroup, ...], make: Callable[[HostClass], Options]) -> None:
        self._make = make
        self._found: dict[HostClass, Options | None] = {group.host_class: None for group in groups}

    def __getitem__(self, host_class: HostClass) -> Options:
        found = self._found[host_class]
        if found is None:
            found = self._found[host_class] = self._make(host_class)
        return found

    def __iter__(self) -> Iterator[HostClass]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


# ------------------------------------------------------------------ backend and selector


def choose_backend(model: Model, facts: ModelFacts | None, cluster: Cluster) -> tuple[str, Decision]:
    """The backend of a model (contract section 4.1) and the decision that says why."""
    if model.backend is not None:
        chosen, rule, because = model.backend, "explicit", f"the model says `backend: {model.backend}`"
        key = "backend"
    elif facts is not None and facts.gguf is not None:
        chosen, rule, because = model.backend_for_gguf, "gguf", "its files are GGUF"
        key = "source"
    elif facts is not None and facts.speech is not None:
        chosen, rule = "vox-box", "speech"
        because = f"it is a known speech model ({facts.speech.framework})"
        key = "source"
    elif model.source is None:
        chosen, rule, because, key = "custom", "no-source", "it has no source, only requirements", "requirements"
    else:
        chosen, rule, because, key = "vllm", "otherwise", "it is neither GGUF nor a known speech model", "source"
    decision = Decision(
        subject=model.name,
        topic="backend",
        chosen=chosen,
        rule=rule,
        because=because,
        place=cluster.places.at("models", model.name, key),
    )
    return chosen, decision


def choose_selector(model: Model, backend: str, cluster: Cluster) -> tuple[tuple[tuple[str, str], ...], Decision]:
    """The label pairs that a host must have, sorted, and the decision that says where they come from."""
    if model.host_selector is not None:
        selector = tuple(sorted(model.host_selector))
        rule, because = "explicit", "the model's own host_selector holds, whole"
    elif backend == "vllm":
        selector, rule = VLLM_SELECTOR, "vllm-platform"
        because = "vLLM runs on linux/amd64 and the model has no host_selector"
    else:
        selector, rule, because = (), "none", "the model has no host_selector"
    decision = Decision(
        subject=model.name,
        topic="hosts",
        chosen=", ".join(f"{label}={value}" for label, value in selector) or "any host",
        rule=rule,
        because=because,
        place=cluster.places.at("models", model.name, "host_selector"),
    )
    return selector, decision


def _label_refusal(selector: tuple[tuple[str, str], ...], labels: Mapping[str, str]) -> tuple[str, str] | None:
    for label, wanted in selector:
        found = labels.get(label)
        if found is None:
            return ("host_selector", f"no label {label}, the model wants {label}={wanted}")
        if found != wanted:
            return ("host_selector", f"{label} is {found}, the model wants {wanted}")
    return None


# ------------------------------------------------------------------ the CPU rule and the pins


def _allowed(options: Options, model: Model, has_gpu: bool) -> Options:
    """`options` without the choices that the model's own switches forbid on hosts like these."""
    if model.cpu_offload and not model.gpus:
        return options
    kept: list[Choice] = []
    refused = list(options.refused)
    for choice in options.fixed:
        on_cpu = not any(part.gpus for part in choice.parts)
        if not on_cpu:
            kept.append(choice)
        elif model.gpus and any(part.gpus for other in options.fixed for part in other.parts):
            refused.append(
                Excluded(what=choice.label, rule="gpus", detail="the model names its GPUs, so it is not run on the CPU")
            )
        elif has_gpu and _needs_switch(choice) and not model.cpu_offload:
            refused.append(
                Excluded(what=choice.label, rule="cpu_offload", detail="cpu_offload is false and there are GPUs to use")
            )
        else:
            kept.append(choice)
    if len(kept) == len(options.fixed):
        return options
    return replace(options, fixed=tuple(kept), refused=tuple(refused))


def _needs_switch(choice: Choice) -> bool:
    """True for a CPU choice of a model that would rather be on a GPU, and was not written down by the user himself."""
    return choice.offloaded_bytes > 0 and choice.basis != "stated" and not choice.needs_no_switch


# ------------------------------------------------------------------ words


def names_of(hosts: tuple[str, ...]) -> str:
    """A few host names as words: "atlas, bolt, core and 7 more hosts"."""
    shown = ", ".join(hosts[:NAMES_SHOWN])
    more = len(hosts) - NAMES_SHOWN
    return f"{shown} and {more} more host{'s' if more > 1 else ''}" if more > 0 else shown


def _no_host_help(model: Model, backend: str, rules: set[str]) -> str:
    if not rules:
        return "add a host under `hosts`"
    if rules == {"host_selector"}:
        if model.host_selector is None:
            return f"add a linux/amd64 host, or give models.{model.name}.host_selector the labels of the hosts to use"
        return f"correct models.{model.name}.host_selector, or the labels of the hosts it is meant for"
    if rules == {"gpus"}:
        return f"correct models.{model.name}.gpus: it must name GPUs of hosts that the host_selector allows"
    return f"add a host that {backend} supports, or choose another backend for {model.name}"


def _llama_box_warning(cluster: Cluster, found: list[Candidates]) -> tuple[Diagnostic, ...]:
    users = [candidates.request.model.name for candidates in found if candidates.request.backend == "llama-box"]
    if not users:
        return ()
    return (
        Diagnostic(
            code="GS381",
            severity="warning",
            message=f"llama-box is no longer maintained; it serves {names_of(tuple(users)).replace('host', 'model')}",
            place=cluster.places.key("models", users[0]),
            help="set `defaults: {backend_for_gguf: llama.cpp}` to use upstream llama-server",
        ),
    )
