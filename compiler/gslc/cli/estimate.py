"""`gslc estimate`."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Literal

import click

from gslc.cli.session import DONE, INPUT_ERROR, OUT_OF_DATE, OUTSIDE_FAILED, Session
from gslc.ir.diagnostic import Diagnostic, Outcome, Place, has_errors
from gslc.ir.estimate import Estimate, EstimateAsk
from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import GpuKind, Model, Source
from gslc.ir.plan import DeviceMemory

NUMBER = re.compile(r"[0-9]{1,9}")  # int() reads other digits too, and refuses very long texts
MOST_DEVICES = 1024
SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(KiB|MiB|GiB|TiB|kB|KB|MB|GB|TB)?")
UNITS = {
    "": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
SMALLEST = 1 << 20  # a bare number below is a forgotten unit (contract section 2)
ENGINES = ("llama.cpp", "llama-box", "vllm", "vox-box")
NETWORK_CODES = range(800, 850)
UNHASHED = "GS264"  # an estimate pins nothing, so files are not hashed


@click.command("estimate", context_settings={"ignore_unknown_options": False})
@click.argument("source", metavar="SOURCE")
@click.argument("engine_args", metavar="[-- ENGINE ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--context", type=click.IntRange(1), metavar="N", help="Tokens of one request.")
@click.option("--parallel", type=click.IntRange(1), metavar="N", help="Concurrent requests.")
@click.option(
    "--devices",
    metavar="LIST",
    help='Cards: sizes or names from the GPU table, e.g. 24GiB,"NVIDIA H200". Default: the CPU.',
)
@click.option("--host-memory", metavar="SIZE", help="Memory of the host, to be checked too.")
@click.option(
    "--gpu-layers", metavar="N|all|auto", help="Layers on the devices, the output layer counted. Default: all."
)
@click.option("--tensor-split", metavar="A,B", help="Layers per device.")
@click.option("--tensor-parallel", type=click.IntRange(1), metavar="N", help="vLLM: cards that share every layer.")
@click.option("--pipeline-parallel", type=click.IntRange(1), metavar="N", help="vLLM: stages of layers.")
@click.option("--kv-cache-type", metavar="T", help="Type of the KV cache, e.g. q8_0 or fp8.")
@click.option("--engine", metavar="NAME[@VERSION]", help="Engine and version, e.g. llama.cpp@b11669.")
@click.option("--max-context", is_flag=True, help="Also the longest context that fits.")
@click.option("--exit-code", is_flag=True, help="Exit with status 3 when it does not fit.")
@click.option("--offline", is_flag=True, help="Never open a socket.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How to print the result.",
)
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Also the CPU seconds of each stage.")
def command(
    source: str,
    engine_args: tuple[str, ...],
    context: int | None,
    parallel: int | None,
    devices: str | None,
    host_memory: str | None,
    gpu_layers: str | None,
    tensor_split: str | None,
    tensor_parallel: int | None,
    pipeline_parallel: int | None,
    kv_cache_type: str | None,
    engine: str | None,
    max_context: bool,
    exit_code: bool,
    offline: bool,
    form: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Memory of one model on given devices, with no inventory: will it fit my card?

    SOURCE is a local file or folder, hf://owner/repo[/file], ollama://name:tag, or another source that cluster.yaml
    takes.

    \b
    gslc estimate model.gguf --devices 24GiB --context 8192
    gslc estimate hf://Qwen/Qwen2.5-7B-Instruct --devices "NVIDIA L4" --max-context
    gslc estimate model.gguf --devices 24GiB,16GiB -- -c 32768 -np 4 -ctk q8_0 -ctv q8_0
    """  # noqa: D400  # \b keeps the lines of the examples
    session = Session(format=form, quiet=quiet, verbose=verbose)  # type: ignore[arg-type]  # click.Choice is a Format
    name, version = parse_engine(engine)
    host_bytes = parse_size(host_memory, "--host-memory") if host_memory else None
    ask = EstimateAsk(
        context=context,
        parallel=parallel,
        devices=parse_devices(devices or "", host_bytes),
        host_memory_bytes=host_bytes,
        gpu_layers=parse_layers(gpu_layers),
        tensor_split=parse_split(tensor_split),
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        kv_cache_type=kv_cache_type,
        engine=name,
        engine_version=version,
        max_context=max_context,
        args=engine_args,
    )
    facts = read_facts(session, source, name, engine_args, offline=offline)
    session.lap("facts")
    outcome = dispatch(facts, ask)
    session.add(outcome.diagnostics)
    session.lap("estimate")
    answer = outcome.value
    if answer is None or has_errors(outcome.diagnostics):
        session.finish(INPUT_ERROR, extra={"estimate": None})
    status = OUT_OF_DATE if exit_code and not answer.fits else DONE
    session.finish(status, text=table(answer, ask), extra={"estimate": estimate_object(answer)})


# ------------------------------------------------------------------ reading the command line


def parse_size(text: str, option: str) -> int:
    """A size in bytes; capacity rounds down."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no size: write 24GiB, 80GB or a number of bytes", param_hint=option)
    whole, _, fraction = match[1].partition(".")
    scale = 10 ** len(fraction)
    size: int = int(whole + fraction) * UNITS[(match[2] or "").lower()] // scale
    if match[2] is None and 0 < size < SMALLEST:
        raise click.BadParameter(f"{text} bytes? did you mean {text}GiB?", param_hint=option)
    return size


def parse_devices(text: str, host_memory_bytes: int | None) -> tuple[GpuKind, ...]:
    """The cards, in the order given; a bare size has no model."""
    found: list[GpuKind] = []
    for piece in text.split(",") if text else ():
        word = piece.strip().strip('"')
        if not word:
            message = f"{text!r} names a card without a name; leave --devices out for the CPU"
            raise click.BadParameter(message, param_hint="--devices")
        times, _, rest = word.partition("x")
        counted = NUMBER.fullmatch(times) is not None and rest != "" and not rest[0].isdigit()
        count, what = (int(times), rest.strip()) if counted else (1, word)
        if SIZE.fullmatch(what):
            kind = GpuKind(model="", vendor="nvidia", memory_bytes=parse_size(what, "--devices"))
        else:
            kind = _named(what, host_memory_bytes)
        if len(found) + count > MOST_DEVICES:
            raise click.BadParameter(f"more than {MOST_DEVICES} cards", param_hint="--devices")
        found += [kind] * count
    return tuple(found)


def _named(name: str, host_memory_bytes: int | None) -> GpuKind:
    from gslc.edges.gpu_table import RESOURCE, load_gpu_table
    from gslc.edges.resources import resource_text

    cards = load_gpu_table(resource_text(RESOURCE))
    if cards.shares_host_memory(name) and host_memory_bytes is None:
        raise click.BadParameter(f"{name} shares the memory of its host: give --host-memory", param_hint="--devices")
    kind = cards.on_host(name, host_memory_bytes or 0)
    if kind is None:
        near = cards.nearest(name)
        hint = f" Did you mean {' or '.join(repr(other) for other in near)}?" if near else " Give its size, e.g. 24GiB."
        raise click.BadParameter(f"the GPU table has no {name!r}.{hint}", param_hint="--devices")
    return kind


def parse_layers(text: str | None) -> int | Literal["all", "auto"] | None:
    """A number of layers, `all` or `auto`."""
    if text is None:
        return None
    if text == "all":
        return "all"
    if text == "auto":
        return "auto"
    if NUMBER.fullmatch(text) is None:
        raise click.BadParameter(f"{text!r} is no number, all or auto", param_hint="--gpu-layers")
    return int(text)


def parse_split(text: str | None) -> tuple[int, ...] | None:
    """Layers per device."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(NUMBER.fullmatch(part) for part in parts) or not any(int(part) for part in parts):
        raise click.BadParameter(f"{text!r} is no list of whole layers, e.g. 17,16", param_hint="--tensor-split")
    return tuple(int(part) for part in parts)


def parse_engine(text: str | None) -> tuple[str | None, str | None]:
    """Engine and version; (None, None): by the model's format."""
    if text is None:
        return None, None
    name, _, version = text.partition("@")
    if name not in ENGINES:
        raise click.BadParameter(f"{name!r} is none of {', '.join(ENGINES)}", param_hint="--engine")
    return name, version or None


# ------------------------------------------------------------------ facts


def read_facts(
    session: Session, source: str, engine: str | None, args: tuple[str, ...], *, offline: bool
) -> ModelFacts:
    """The facts of the source; ends the run where they can't be had."""
    from gslc.edges.facts import fetch_facts
    from gslc.edges.hub import HubSettings

    found = parsed_source(source)
    # a projector that happens to lie beside a local file may belong to another model: it counts when it is named
    projector = projector_of(args) or ("" if found.kind == "file" else None)
    here = projector if projector and (projector.startswith("/") or os.path.isfile(projector)) else None
    projector = "" if here else projector
    model = Model(name="model", source=found, backend=engine, mmproj=projector)
    settings = HubSettings(
        environment=dict(os.environ), offline_flag="--offline" if offline else None, local_sha256_limit=0
    )
    outcome = fetch_facts(model, settings, place=Place(file=source))
    session.add(d for d in outcome.diagnostics if d.code != UNHASHED)
    if outcome.value is None:
        errors = [d for d in outcome.diagnostics if d.severity == "error"]
        outside = bool(errors) and all(int(d.code[2:]) in NETWORK_CODES for d in errors)
        session.finish(OUTSIDE_FAILED if outside else INPUT_ERROR, extra={"estimate": None})
    return _with_projector(session, outcome.value, here) if here else outcome.value


def _with_projector(session: Session, facts: ModelFacts, path: str) -> ModelFacts:
    """The facts with the projector that lies on this machine; ends the run where it can't be read."""
    from gslc.edges.fetch_gguf import local_projector
    from gslc.edges.hub import HubError

    if facts.gguf is None:
        return facts  # the engine of other files refuses the flag
    try:
        return replace(facts, projector=local_projector(path))
    except HubError as error:
        session.add([Diagnostic(code=error.code, message=error.message, place=Place(file=path), help=error.action)])
        session.finish(INPUT_ERROR, extra={"estimate": None})


def parsed_source(text: str) -> Source:
    """A source as in cluster.yaml, or a path on this machine."""
    from gslc.frontend.mistake import Mistake
    from gslc.frontend.model_sources import model_source

    if "://" not in text:
        path = os.path.abspath(text)
        text = f"file://{path}"
    found = model_source(text, quoted=False)
    if isinstance(found, Mistake):
        raise click.BadParameter(found.message, param_hint="SOURCE")
    return found


def projector_of(args: tuple[str, ...]) -> str | None:
    """The projector that the engine arguments name."""
    for index, word in enumerate(args):
        name, found, value = word.partition("=")
        if name in ("--mmproj", "-mm"):
            return value if found else (args[index + 1] if index + 1 < len(args) else None)
    return None


def dispatch(facts: ModelFacts, ask: EstimateAsk) -> Outcome[Estimate]:
    """The estimate by the engine asked for, else by the format of the files."""
    if facts.kind == "image" and facts.gguf is not None and ask.engine in (None, "llama.cpp", "llama-box"):
        from gslc.memory.image import estimate as image_estimate

        return image_estimate(facts, ask)
    if facts.gguf is not None and ask.engine in (None, "llama.cpp", "llama-box"):
        from gslc.memory.gguf import estimate as gguf_estimate

        return gguf_estimate(facts, ask)
    if facts.safetensors is not None and ask.engine in (None, "vllm"):
        from gslc.memory.vllm import estimate as vllm_estimate

        return vllm_estimate(facts, ask)
    if facts.speech is not None and ask.engine in (None, "vox-box"):
        from gslc.memory.speech import estimate as speech_estimate

        return speech_estimate(facts, ask)
    wanted = ask.engine or "any engine"
    return Outcome(
        value=None,
        diagnostics=(
            Diagnostic(
                code="GS311",
                message=f"{wanted} does not run {facts.source}: {facts.kind_reason}",
                place=Place(file=facts.source),
                help="leave --engine out, or name a source that it runs",
            ),
        ),
    )


# ------------------------------------------------------------------ printing


def estimate_object(answer: Estimate) -> dict[str, object]:
    """The estimate as the JSON envelope holds it (contract section 7)."""
    return {
        "backend": answer.backend,
        "engine_version": answer.engine_version,
        "layers": answer.layers,
        "gpu_layers": answer.gpu_layers,
        "tensor_split": list(answer.tensor_split) if answer.tensor_split else None,
        "cpu_moe_layers": answer.cpu_moe_layers,
        "context": answer.context,
        "devices": [memory_object(device) for device in answer.devices],
        "host": memory_object(answer.host),
        "fits": answer.fits,
        "max_context": answer.max_context,
        "kv_bytes_per_token": answer.kv_bytes_per_token,
        "basis": answer.basis,
    }


def memory_object(memory: DeviceMemory) -> dict[str, int]:
    """Bytes of one device or of the host."""
    return {
        "weights": memory.weights,
        "kv_cache": memory.kv_cache,
        "compute": memory.compute,
        "overhead": memory.overhead,
        "total": memory.total,
    }


def mib(size: int) -> str:
    """Bytes as MiB, rounded up."""
    return f"{-(-size // (1 << 20)):,}"


def table(answer: Estimate, ask: EstimateAsk) -> str:
    """The estimate as a table in MiB."""
    head = ("", "weights", "KV cache", "compute", "overhead", "total", "of")
    rows = [head]
    for index, device in enumerate(answer.devices):
        kind = ask.devices[index]
        rows.append((kind.model or f"device {index}", *_cells(device), mib(kind.memory_bytes)))
    room = mib(ask.host_memory_bytes) if ask.host_memory_bytes else ""
    rows.append(("host", *_cells(answer.host), room))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(widths[i]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    layers = f", {answer.gpu_layers} of {answer.layers} layers on the devices" if answer.gpu_layers is not None else ""
    split = f" as {','.join(map(str, answer.tensor_split))}" if answer.tensor_split else ""
    title = f"{answer.backend} {answer.engine_version}{layers}{split} (MiB)"
    verdict = "fits" if answer.fits else "does not fit"
    per_token = f"{verdict}; {answer.kv_bytes_per_token:,} bytes of KV cache per token"
    found = [title, *lines, per_token]
    if answer.cpu_moe_layers:
        found.append(f"experts of {answer.cpu_moe_layers} blocks stay in host memory (--n-cpu-moe)")
    if ask.max_context:
        found.append(f"longest context that fits: {answer.max_context:,}" if answer.max_context else "no context fits")
    return "\n".join(found)


def _cells(memory: DeviceMemory) -> tuple[str, str, str, str, str]:
    return (mib(memory.weights), mib(memory.kv_cache), mib(memory.compute), mib(memory.overhead), mib(memory.total))
