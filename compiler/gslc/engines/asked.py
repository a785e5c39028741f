"""What a model asks of its files, and whether facts that were fetched earlier answer it."""

from __future__ import annotations

from gslc.ir.facts import ModelFacts
from gslc.ir.inputs import Model


def facts_current(model: Model, facts: ModelFacts) -> bool:
    """True when the facts answer what the model asks for now, so that nothing has to be fetched.

    A model without a source needs none. The text of the source, the projector and the format that an explicit backend
    wants are compared; a branch that has moved on is not looked for (that is what `gslc lock --upgrade` does).
    """
    if model.source is None:
        return True
    if facts.source != model.source.text or dict(facts.asked) != dict(asked_of(model, facts)):
        return False
    return _format_answers(model, facts)


def asked_of(model: Model, facts: ModelFacts) -> tuple[tuple[str, str], ...]:
    """The settings that chose the files, beside the source."""
    wanted = wanted_projector(model)
    return (("mmproj", wanted),) if wanted is not None and facts.gguf is not None else ()


def _format_answers(model: Model, facts: ModelFacts) -> bool:
    if model.backend == "vox-box":
        return facts.speech is not None
    if model.backend == "vllm":
        return facts.safetensors is not None or facts.gguf is not None
    if model.backend in ("llama-box", "llama.cpp"):
        return facts.gguf is not None
    return facts.kind != "other" or model.backend == "custom"


def wanted_projector(model: Model) -> str | None:
    """The projector that the model's settings name; "" where they switch it off, None where they say nothing.

    `mmproj` wins; llama-server's own --mmproj, -mm and --no-mmproj in `args` count as well.
    """
    if model.mmproj is not None:
        return model.mmproj
    wanted: str | None = None
    for position, word in enumerate(model.args):
        name, separator, value = word.partition("=")
        if word == "--no-mmproj":
            wanted = ""
        elif name in ("--mmproj", "-mm"):
            wanted = value if separator else model.args[position + 1] if position + 1 < len(model.args) else None
    return wanted
