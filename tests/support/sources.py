"""Models of a source, as the compiler's input types have them."""

from __future__ import annotations

from gslc.frontend.model_sources import model_source
from gslc.ir.inputs import Model, Source


def source(text: str) -> Source:
    """The source that a text names."""
    found = model_source(text, quoted=False)
    assert isinstance(found, Source), found
    return found


def model(text: str, name: str = "chat", **settings: object) -> Model:
    """A model of that source."""
    return Model(name=name, source=source(text), **settings)  # type: ignore[arg-type]
