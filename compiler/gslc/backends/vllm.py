"""vLLM: repositories of safetensors on GPUs of one kind, over hosts by its own multi-node start or by Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from gslc.backends.vllm_launch import image_of, launch_of, release_of
from gslc.engines.containers import runs_containers
from gslc.engines.pins import resolve_pin
from gslc.engines.vllm_versions import DEFAULT_VERSION
from gslc.ir.diagnostic import Diagnostic, Excluded
from gslc.ir.inputs import EnginePin, Host, Model
from gslc.ir.placement import Assignment, Choice, HostClass, Options, Request
from gslc.ir.plan import Launch, Layout
from gslc.ir.record import dataclass
from gslc.memory.stated import stated_options
from gslc.memory.vllm.options import Asker, vllm_options, would_do
from gslc.memory.vllm.over_hosts import RELEASE_KEY, OverHosts
from gslc.memory.vllm.partition import partition_of
from gslc.memory.vllm.review import LONG_CONTEXT, keys_of, review_model
from gslc.memory.vllm.spanning import against_ray, with_ports
from gslc.memory.vllm.view import View, view_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Vllm:
    """See contracts.Backend."""

    name: str = "vllm"
    default_pin: EnginePin = field(default_factory=lambda: EnginePin(version=DEFAULT_VERSION))
    # By identity of the request, which is kept so that its identity stays its own.
    wide: dict[tuple[int, str, str], tuple[Request, OverHosts]] = field(default_factory=dict, compare=False, repr=False)
    needs: dict[tuple[int, str], tuple[Request, Excluded]] = field(default_factory=dict, compare=False, repr=False)

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """Flags, values, clashes between keys and args, context and layout, for every release that could run it."""
        pins = [resolve_pin(self.name, self.default_pin, request.cluster.engines)]
        pins += [self._pin(request, host.engines) for host in request.cluster.hosts]
        versions = tuple(dict.fromkeys(release_of(pin, request.model) for pin in pins))
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
        pin = self._pin(request, dict(host_class.engines))
        if vendors and all(vendor in {"apple", "mthreads"} for vendor in vendors):
            found.append(Excluded(what="", rule="vendor", detail=f"vLLM has no build for GPUs of {', '.join(vendors)}"))
        elif vendors and image_of(request.model, pin, vendors[0]) is None and runs_containers(host_class, None):
            found.append(
                Excluded(
                    what="",
                    rule="image",
                    detail=(
                        f"no image of vLLM {release_of(pin, request.model)} is known for GPUs "
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
        over_hosts = self._over_hosts(request, host_class, view, asker).of if model.distributed else None
        return vllm_options(view, host_class, asker, over_hosts, lambda: self._needed(request, view))

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The pinned release, or the one that the tag of the model's own image names."""
        return release_of(self._pin(request, dict(host_class.engines)), request.model)

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """One process a seat; the leader answers HTTP, the others are headless or Ray's."""
        pins = [self._pin(request, hosts[seat.host].engines) for seat in assignment.seats]
        view = self._view(request, release_of(pins[0], request.model))
        return tuple(launch_of(request, assignment, hosts, node, pin, view) for node, pin in enumerate(pins))

    def _over_hosts(self, request: Request, host_class: HostClass, view: View, asker: Asker) -> OverHosts:
        """The choices over several hosts, worked out once for all classes of hosts that they may lie on."""
        key = (id(request), view.version, host_class.arch)
        known = self.wide.get(key)
        if known is None:
            peers = self._hosts(request, view.version)
            made = OverHosts(view, asker, peers, hosts=len(request.cluster.hosts), arch=host_class.arch)
            known = self.wide[key] = (request, made)
        return known[1]

    def _needed(self, request: Request, view: View) -> Excluded:
        """What would fit somewhere, worked out once for all classes of hosts."""
        key = (id(request), view.version)
        known = self.needs.get(key)
        if known is None:
            known = self.needs[key] = (request, would_do(view))
        return known[1]

    def _hosts(self, request: Request, version: str) -> tuple[Host, ...]:
        """The hosts with GPUs that the model's selector and pins allow and that have this release."""
        pinned = {name for name, _ in request.model.gpus}
        return tuple(
            host
            for host in request.cluster.hosts
            if host.gpus
            and (not pinned or host.name in pinned)
            and request.selector.items() <= host.labels.items()
            and version == release_of(self._pin(request, host.engines), request.model)
        )

    def _pin(self, request: Request, engines: Mapping[str, EnginePin]) -> EnginePin:
        return resolve_pin(self.name, self.default_pin, request.cluster.engines, engines)

    def _view(self, request: Request, version: str) -> View | None:
        if request.facts is None:
            return None
        return view_of(
            request.facts,
            keys_of(request.model),
            request.model.args,
            version,
            long_context_allowed=long_context(request.model),
            partition=partition_of(request.model.env),
        )


def _with_layout(stated: Options, view: View | None, host_class: HostClass) -> Options:
    """Stated alternatives as layouts: tensor parallel over a part's cards, pipeline stages over the parts."""
    if view is None:
        return stated
    refused = against_ray(host_class.gpu_kinds, view)
    common = ((RELEASE_KEY, view.version),)
    fixed = (
        with_ports(replace(choice, layout=_stated_layout(choice, view), common=common if len(choice.parts) > 1 else ()))
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
