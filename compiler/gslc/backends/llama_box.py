"""llama-box v0.0.171: GGUF text and image models, no longer maintained by its authors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gslc.engines.containers import runs_containers
from gslc.engines.llama_launch import Programs, gguf_launches
from gslc.engines.llama_profile import LLAMA_BOX_NEWEST
from gslc.engines.pins import resolve_pin
from gslc.ir.diagnostic import Diagnostic, Excluded
from gslc.ir.inputs import EnginePin, Host
from gslc.ir.placement import Assignment, HostClass, Options, Request
from gslc.ir.plan import Launch
from gslc.memory.gguf.backend import RequestView, review_request, ways_of
from gslc.memory.gguf.options import gguf_options
from gslc.memory.gguf.other_size import options_by_size
from gslc.memory.image import drawing_of, image_options, image_shape
from gslc.memory.stated import stated_options

NAME = "llama-box"
PROGRAMS = Programs(server="llama-box", rpc_server="llama-box")
CPU_ONLY = (("windows", "arm64"),)  # contract section 4.2: no build with a GPU backend for Windows on ARM


class LlamaBox:
    """llama-box, server and RPC server in one program."""

    name = NAME
    default_pin = EnginePin(version=LLAMA_BOX_NEWEST)

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """Arguments and keys against what this engine does; it knows no API key."""
        found = review_request(request, self._view(request))
        if request.model.api_key is None:
            return found
        refusal = Diagnostic(
            code="GS319",
            message=f"model {request.model.name}: llama-box can't check an API key",
            place=request.cluster.places.at("models", request.model.name, "api_key"),
            help="use backend: llama.cpp, or a proxy that checks it",
        )
        return (*found, refusal)

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        """Hosts that start containers, where no image of llama-box is named: there is no official one."""
        view = self._view(request, host_class)
        if view.image is None and runs_containers(host_class, None):
            return (
                Excluded(
                    what=host_class.target,
                    rule="image",
                    detail="there is no official container image of llama-box; give engines.llama-box.image one",
                ),
            )
        return ()

    def options(self, request: Request, host_class: HostClass) -> Options:
        """The ways to lay the model out there."""
        if request.model.requirements:
            return stated_options(request.model, host_class)
        if request.assumed_file_bytes is None:
            return self._options(request, host_class)
        settings = self._view(request, host_class).resolved.settings
        return options_by_size(request, settings, lambda asked: self._options(asked, host_class))

    def _options(self, request: Request, host_class: HostClass) -> Options:
        """The ways to lay out the file that the facts describe."""
        usable = host_class
        if (host_class.os, host_class.arch) in CPU_ONLY:
            usable = replace(host_class, gpu_kinds=(), gpu_capacity=())
        view = self._view(request, host_class)
        if view.facts.kind == "image" and view.facts.gguf is not None:
            shape, drawing = image_shape(view.facts.gguf), drawing_of(view.resolved.parsed)
            return image_options(request.model.name, shape, drawing, usable, exclusive=request.model.exclusive_gpus)
        return gguf_options(
            ways_of(request, view, usable),
            usable,
            cpu_offload=request.model.cpu_offload,
            distributed=request.model.distributed,
        )

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The pinned release."""
        return self._view(request, host_class).profile.version

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """The server, and an RPC server for each remote card."""
        view = self._view(request)
        pins = {
            seat.host: resolve_pin(NAME, self.default_pin, request.cluster.engines, hosts[seat.host].engines)
            for seat in assignment.seats
        }
        images = {host: request.model.image or pin.image for host, pin in pins.items()}
        return gguf_launches(
            view.profile, PROGRAMS, request.model, view.facts, view.resolved.settings, view.resolved.parsed,
            assignment, hosts, pins, images,
        )  # fmt: skip

    def _view(self, request: Request, host_class: HostClass | None = None) -> RequestView:
        own = dict(host_class.engines) if host_class is not None else {}
        return RequestView.of(request, "llama-box", resolve_pin(NAME, self.default_pin, request.cluster.engines, own))


BACKEND = LlamaBox()
