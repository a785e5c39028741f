"""llama.cpp's own server: GGUF on one GPU, several, several hosts over RPC, partly or wholly on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gslc.engines.containers import runs_containers
from gslc.engines.llama_launch import Programs, gguf_launches
from gslc.engines.llama_profile import LLAMA_CPP_DEFAULT, EngineProfile, profile_of
from gslc.engines.pins import resolve_pin
from gslc.ir.diagnostic import Diagnostic, Excluded
from gslc.ir.inputs import EnginePin, Host, Vendor
from gslc.ir.placement import Assignment, HostClass, Options, Request
from gslc.ir.plan import Launch
from gslc.memory.gguf.backend import RequestView, review_request, ways_of
from gslc.memory.gguf.options import gguf_options
from gslc.memory.gguf.other_size import options_by_size
from gslc.memory.stated import stated_options

NAME = "llama.cpp"
PROGRAMS = Programs(server="llama-server", rpc_server="ggml-rpc-server")
# .github/workflows/docker.yml of the pinned build: tags, and the platforms they are published for. CANN is not among
# them; the floating names are rebuilt daily, the build-numbered ones stay.
IMAGE = "ghcr.io/ggml-org/llama.cpp"
IMAGE_TAGS: Mapping[Vendor | None, tuple[str, tuple[str, ...]]] = {
    None: ("server", ("amd64", "arm64")),
    "nvidia": ("server-cuda", ("amd64", "arm64")),
    "amd": ("server-rocm", ("amd64",)),
    "intel": ("server-intel", ("amd64",)),
    "mthreads": ("server-musa", ("amd64",)),
}


class LlamaCpp:
    """llama-server and ggml-rpc-server."""

    name = NAME
    default_pin = EnginePin(version=LLAMA_CPP_DEFAULT)

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """Arguments, keys and the model's kind against what this engine does."""
        return review_request(request, self._view(request))

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        """Hosts in whose containers there is no build for their cards."""
        view = self._view(request, host_class)
        if not runs_containers(host_class, None):
            return ()
        if view.image is None and image_of(view.profile, host_class) is None:
            vendor = host_class.gpu_kinds[0].vendor if host_class.gpu_kinds else "CPU"
            return (
                Excluded(
                    what=host_class.target,
                    rule="image",
                    detail=f"llama.cpp publishes no image for {vendor} on {host_class.arch}",
                ),
            )
        return ()

    def options(self, request: Request, host_class: HostClass) -> Options:
        """The ways to lay the model out there; over RPC only where an image or a program with RPC is at hand."""
        if request.model.requirements:
            return stated_options(request.model, host_class)
        if request.assumed_file_bytes is None:
            return self._options(request, host_class)
        settings = self._view(request, host_class).resolved.settings
        return options_by_size(request, settings, lambda asked: self._options(asked, host_class))

    def _options(self, request: Request, host_class: HostClass) -> Options:
        """The ways to lay out the file that the facts describe."""
        view = self._view(request, host_class)
        usable = replace(host_class, gpu_kinds=(), gpu_capacity=()) if cpu_only(host_class) else host_class
        rpc_missing = view.image is None and runs_containers(host_class, None)
        found = gguf_options(
            ways_of(request, view, usable),
            usable,
            cpu_offload=request.model.cpu_offload,
            distributed=request.model.distributed and not rpc_missing,
        )
        if request.model.distributed and rpc_missing:
            refusal = Excluded(
                what="several hosts",
                rule="rpc-image",
                detail="the official llama.cpp images are built without RPC; give engines.llama.cpp.image one with it, "
                "or use a target that runs programs",
            )
            found = replace(found, refused=(*found.refused, refusal))
        return found

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The pinned build."""
        return self._view(request, host_class).profile.version

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """The server, and an RPC server for each remote card."""
        view = self._view(request)
        pins: dict[str, EnginePin] = {}
        images: dict[str, str | None] = {}
        for seat in assignment.seats:
            host = hosts[seat.host]
            pin = resolve_pin(NAME, self.default_pin, request.cluster.engines, host.engines)
            pins[seat.host] = pin
            vendors = {gpu.index: gpu.kind.vendor for gpu in host.gpus}
            vendor = vendors[seat.gpus[0]] if seat.gpus else None
            own = request.model.image or pin.image
            images[seat.host] = own or (None if len(assignment.seats) > 1 else image_for(pin, vendor, host.arch))
        return gguf_launches(
            view.profile, PROGRAMS, request.model, view.facts, view.resolved.settings, view.resolved.parsed,
            assignment, hosts, pins, images,
        )  # fmt: skip

    def _view(self, request: Request, host_class: HostClass | None = None) -> RequestView:
        own = dict(host_class.engines) if host_class is not None else {}
        pin = resolve_pin(NAME, self.default_pin, request.cluster.engines, own)
        return RequestView.of(request, "llama.cpp", pin)


def image_of(profile: EngineProfile, host_class: HostClass) -> str | None:
    """The default image for hosts of a class."""
    vendor = host_class.gpu_kinds[0].vendor if host_class.gpu_kinds else None
    return image_for(EnginePin(version=profile.version), vendor, host_class.arch)


def image_for(pin: EnginePin, vendor: Vendor | None, arch: str) -> str | None:
    """The official image of a build for a vendor's cards, None where none is published."""
    tag = IMAGE_TAGS.get(vendor)
    profile = profile_of("llama.cpp", pin.version)
    if tag is None or arch not in tag[1] or profile is None:
        return None
    return f"{IMAGE}:{tag[0]}-b{profile.build}"


def cpu_only(host_class: HostClass) -> bool:
    """Windows on ARM: upstream builds for CPUs, and for cards that the GPU table does not list."""
    return host_class.os == "windows" and host_class.arch == "arm64"


BACKEND = LlamaCpp()
