"""Requests for the GGUF backends, from the headers of the truth models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.support.truth import model_facts
from tests.support.vllm_models import GIB, Lines, class_of

from gslc.contracts import Backend
from gslc.ir.facts import FileFact, GgufFacts, ModelFacts, ModelKind, TensorGroup
from gslc.ir.inputs import Cluster, EnginePin, Host, Model, Source
from gslc.ir.placement import FreeGpu, FreeHost, Options, Request

REVISION = "b" * 40
BOX_PREFIX = "model.diffusion_model."


def gguf_facts_of(name: str, kind: ModelKind = "chat") -> ModelFacts:
    """The facts of a measured model, as of a repository with one file."""
    return facts_with(model_facts(name), kind)


def facts_with(gguf: GgufFacts, kind: ModelKind) -> ModelFacts:
    """Facts around a header."""
    return ModelFacts(
        source="hf://lab/model/model.gguf",
        revision=REVISION,
        files=(FileFact(path="model.gguf", size_bytes=GIB, sha256="c" * 64),),
        kind=kind,
        kind_reason="the header says so",
        gguf=gguf,
    )


def flux_facts(*, complete: bool = True) -> ModelFacts:
    """A diffusion transformer of FLUX.1's width, with text encoder and VAE or without."""
    blocks = tuple(range(19))
    tensors = [
        TensorGroup(
            name=f"{BOX_PREFIX}double_blocks.{{}}.img_attn.qkv.weight", type="Q8_0", shape=(3072, 9216), blocks=blocks
        ),
        TensorGroup(
            name=f"{BOX_PREFIX}double_blocks.{{}}.img_attn.norm.query_norm.scale",
            type="F32",
            shape=(128,),
            blocks=blocks,
        ),
    ]
    if complete:
        tensors.append(TensorGroup(name="text_encoders.clip_l.text_projection.weight", type="F16", shape=(768, 768)))
        tensors.append(
            TensorGroup(name="first_stage_model.decoder.up.0.block.0.conv1.weight", type="F16", shape=(3, 3, 256, 128))
        )
    gguf = GgufFacts(
        architecture="diffusion",
        hyper={},
        vocabulary_size=0,
        tensors=tuple(tensors),
        header_sha256="d" * 64,
        header_bytes=1024,
        file_bytes=GIB,
    )
    return facts_with(gguf, "image")


def gguf_request(
    facts: ModelFacts,
    *hosts: Host,
    backend: str = "llama.cpp",
    engines: Mapping[str, EnginePin] | None = None,
    **keys: object,
) -> Request:
    """A request under the name `chat`, with these model keys."""
    source = Source(kind="hf", text=facts.source, repository="lab/model", path="model.gguf")
    model = Model(name="chat", source=source, **keys)  # type: ignore[arg-type]  # keys of the test's own
    cluster = Cluster(
        name="lab",
        target="systemd",
        port_range=(20000, 29999),
        engines=engines or {},
        hosts=hosts,
        models=(model,),
        places=Lines(),
    )
    return Request(model=model, facts=facts, backend=backend, selector={}, cluster=cluster)  # type: ignore[arg-type]


def options_on(engine: Backend, request: Request, host: Host) -> Options:
    """What the engine offers on hosts like this one."""
    return engine.options(request, class_of(host, request.cluster.engines))


def free(host: Host) -> FreeHost:
    """The host with nothing on it."""
    return FreeHost(
        name=host.name,
        host_class=class_of(host),
        gpus=tuple(FreeGpu(index=gpu.index, kind=gpu.kind, free_bytes=gpu.kind.memory_bytes) for gpu in host.gpus),
        memory_free=host.memory_bytes - host.reserved_memory_bytes,
    )


def on_target(host: Host, target: str) -> Host:
    """The same host under another supervisor."""
    return replace(host, target=target)  # type: ignore[arg-type]  # a target's name
