"""vox-box: speech-to-text and text-to-speech on one NVIDIA card or the CPU, never distributed.

Flags and behaviour: vox-box 0.0.5 to 0.0.21 have the same command line. It exits 0 when a model is unsupported or can't
be loaded, so nothing but `restart: always` brings it back, and the port opens only after the model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gslc.engines.containers import runs_containers
from gslc.engines.paths import model_files, model_folder
from gslc.engines.pins import resolve_pin
from gslc.ir.diagnostic import Decision, Diagnostic, Excluded, Place
from gslc.ir.facts import ModelFacts, SpeechFacts
from gslc.ir.inputs import EnginePin, Host, Model
from gslc.ir.placement import Assignment, Choice, HostClass, Options, PartNeed, Request
from gslc.ir.plan import Launch, Layout
from gslc.memory.speech import DEFAULT_VERSION, SpeechNeed, cpu_need, gpu_need
from gslc.memory.stated import stated_options

OWNED_FLAGS = (
    "--host",
    "--port",
    "--model",
    "--device",
    "--data-dir",
    "--huggingface-repo-id",
    "--model-scope-model-id",
)
OWN_BOOLEAN = ("-d", "--debug")
# vox-box makes its data folder when it starts, and ends (with status 0) where it can't ("[Errno 30] Read-only file
# system", in a unit that writes its own state alone). With --model it keeps nothing there. A process starts in a folder
# of its own (the unit's state, Nomad's task), where a relative path can be written; in a container /tmp always can.
DATA_DIR = "vox-box"
CONTAINER_DATA_DIR = "/tmp/vox-box"  # noqa: S108 - the container's own


class VoxBox:
    """The vox-box engine."""

    name = "vox-box"
    default_pin = EnginePin(version=DEFAULT_VERSION, path="/usr/local/bin/vox-box")

    def review(self, request: Request) -> tuple[Diagnostic, ...]:
        """Arguments that vox-box doesn't take or that gslc sets itself; a model that is no speech model."""
        model, places = request.model, request.cluster.places
        found = [
            argument_error(model, index, places.at("models", model.name, "args", index))
            for index, word in enumerate(model.args)
            if word not in OWN_BOOLEAN
        ]
        if request.facts is not None and request.facts.speech is None and not model.requirements:
            found.append(
                Diagnostic(
                    code="GS336",
                    place=places.at("models", model.name, "backend"),
                    message=f"{model.name!r} is no speech model that vox-box knows: {request.facts.kind_reason}",
                    help="remove the backend key, or use a faster-whisper, FunASR, Bark, Dia or CosyVoice repository",
                )
            )
        if model.api_key is not None:
            found.append(
                Diagnostic(
                    code="GS337",
                    place=places.at("models", model.name, "api_key"),
                    message=f"{model.name!r}: vox-box can't check an API key",
                    help="remove api_key and put a proxy that checks it in front; keep `listen` on a private address",
                )
            )
        return tuple(found)

    def excludes(self, request: Request, host_class: HostClass) -> tuple[Excluded, ...]:
        """Platforms without pynini, which CosyVoice and Dia need (vox-box's README); containers without an image."""
        speech = speech_of(request.facts)
        platform = f"{host_class.os}/{host_class.arch}"
        needs_pynini = speech is not None and speech.framework in ("cosyvoice", "dia")
        if speech and needs_pynini and (host_class.os == "windows" or platform == "linux/arm64"):
            detail = f"{speech.framework} runs on linux/amd64 and macOS; these hosts are {platform}"
            return (Excluded(what=platform, rule="vox-box-platform", detail=detail),)
        image = request.model.image or dict(host_class.engines).get(self.name, self.default_pin).image
        if image is None and runs_containers(host_class, image):
            detail = "there is no official container image of vox-box; give the model, or engines.vox-box, an image"
            return (Excluded(what=host_class.target, rule="image", detail=detail),)
        return ()

    def options(self, request: Request, host_class: HostClass) -> Options:
        """One NVIDIA card if there is one, else the CPU, which needs no switch."""
        if request.model.requirements:
            return stated_options(request.model, host_class)
        speech = speech_of(request.facts)
        if speech is None:
            return Options()
        fixed = []
        refused = []
        if any(kind.vendor == "nvidia" for kind in host_class.gpu_kinds):
            fixed.append(choice_of(0, "one GPU", gpu_need(speech), request, host_class))
        elif host_class.gpu_kinds:
            vendors = sorted({kind.vendor for kind in host_class.gpu_kinds})
            refused.append(
                Excluded(
                    what="one GPU",
                    rule="vox-box-nvidia-only",
                    detail=f"vox-box uses NVIDIA cards only; here are {', '.join(vendors)}",
                )
            )
        fixed.append(choice_of(1, "CPU", cpu_need(speech), request, host_class))
        return Options(fixed=tuple(fixed), refused=tuple(refused))

    def engine_version(self, request: Request, host_class: HostClass) -> str:
        """The pinned version."""
        return dict(host_class.engines).get(self.name, self.default_pin).version or str(self.default_pin.version)

    def launches(self, request: Request, assignment: Assignment, hosts: Mapping[str, Host]) -> tuple[Launch, ...]:
        """The one process of a replica."""
        seat = assignment.seats[0]
        host = hosts[seat.host]
        pin = resolve_pin(self.name, self.default_pin, request.cluster.engines, host.engines)
        facts = request.facts
        if facts is None:
            raise ValueError(f"{assignment.model}: vox-box needs the model's facts")
        port = seat.ports[0]
        model = ("start", "--model", model_folder(facts, host.model_dir))
        words = ("--host", host.listen, "--port", str(port), *request.model.args)
        argument, env = pinning(speech_of(facts), pin.version or "", seat.gpus)
        secret_env = tuple((name, value.name) for name, value in request.model.env if not isinstance(value, str))
        own_env = {"HF_HUB_OFFLINE": "1", **env}
        own_env.update({name: value for name, value in request.model.env if isinstance(value, str)})
        return (
            Launch(
                name=f"{assignment.model}-{assignment.replica}",
                role="leader",
                rank=0,
                host=host.name,
                program=pin.path or str(self.default_pin.path),
                argv=(*model, "--data-dir", DATA_DIR, *words, *device_words(seat.gpus, argument)),
                isolated_argv=(*model, "--data-dir", CONTAINER_DATA_DIR, *words, *device_words(seat.gpus, "visible")),
                image=request.model.image or pin.image,
                image_entrypoint=("vox-box",),
                env=tuple(sorted(own_env.items())),
                secret_env=secret_env,
                gpus=seat.gpus,
                gpu_uuids=tuple(host.gpus[index].uuid for index in seat.gpus),
                vendor=host.gpus[seat.gpus[0]].kind.vendor if seat.gpus else None,
                gpu_selection="argument" if argument == "index" else "visible",
                listen=host.listen,
                port=port,
                health_path="/health",
                health_program="python3",
                # 17.7 s cold for a 1.7 MB model on two cores; large ones read 3 GB first
                start_seconds=600,
                memory_bytes=assignment.choice.parts[0].host.total,
                model_dir=host.model_dir,
                cache_dirs=("cache",),
                cache_env=(("HF_HOME", "cache"), ("XDG_CACHE_HOME", "cache")),
                files=model_files(facts, host.model_dir),
                jit=True,
            ),
        )


def speech_of(facts: ModelFacts | None) -> SpeechFacts | None:
    """The speech part of the facts."""
    return facts.speech if facts else None


def argument_error(model: Model, index: int, place: Place) -> Diagnostic:
    """Why an argument is refused."""
    word = model.args[index]
    flag = word.split("=", 1)[0]
    if flag in OWNED_FLAGS:
        message, help_text = f"{model.name!r}: gslc sets {flag} of vox-box itself", "remove it from args"
    else:
        message = f"{model.name!r}: vox-box has no argument {word!r}"
        help_text = f"remove it; vox-box start takes {', '.join(OWN_BOOLEAN)} beside what gslc sets"
    return Diagnostic(code="GS335", place=place, message=message, help=help_text)


def version_tuple(version: str) -> tuple[int, ...]:
    """(0, 0, 21) for "0.0.21"; () where it is no number."""
    parts = version.removeprefix("v").split(".")
    return tuple(int(part) for part in parts) if all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts) else ()


def pinning(speech: SpeechFacts | None, version: str, gpus: tuple[int, ...]) -> tuple[str, dict[str, str]]:
    """How this version is kept on its card: "visible" (the variable, and cuda:0) or "index" (cuda:N, no variable).

    0.0.15 and newer overwrite CUDA_VISIBLE_DEVICES with the index of --device for CosyVoice, 0.0.18 for every model.
    0.0.19 and newer do it for faster-whisper unless IS_FASTER_WHISPER is false (measured on 0.0.21).
    """
    if not gpus or speech is None:
        return "visible", {}
    number = version_tuple(version)
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    if number == (0, 0, 18) or (speech.framework == "cosyvoice" and number >= (0, 0, 15)):
        return "index", order
    if speech.framework == "faster-whisper" and number >= (0, 0, 19):
        return "visible", {"IS_FASTER_WHISPER": "false"}
    return "visible", {}


def device_words(gpus: tuple[int, ...], how: str) -> tuple[str, ...]:
    """The --device argument."""
    if not gpus:
        return ("--device", "cpu")
    return ("--device", f"cuda:{gpus[0] if how == 'index' else 0}")


def choice_of(rank: int, label: str, need: SpeechNeed, request: Request, host_class: HostClass) -> Choice:
    """A choice with one part, and where its figures come from."""
    speech = speech_of(request.facts)
    size = speech.model_bytes if speech else 0
    named = f"{speech.framework}'s {speech.model_file}" if speech else "speech"
    total = need.gpu.total if need.gpu else need.host.total
    return Choice(
        rank=rank,
        label=label,
        parts=(PartNeed(gpus=(need.gpu,) if need.gpu else (), host=need.host, same_kind=False),),
        layout=Layout(),
        exclusive=request.model.exclusive_gpus,
        basis=need.basis,
        needs_no_switch=need.gpu is None,
        decisions=(
            Decision(
                subject=request.model.name,
                topic="memory",
                chosen=f"{total} bytes",
                rule=f"speech-{need.basis}",
                because=f"{named} with {size} bytes: {need.basis}",
                evidence=(("model_bytes", size), ("basis", need.basis)),
            ),
        ),
    )
