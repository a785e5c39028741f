"""Typed views to text through Jinja2 templates that can print nothing but quoted words and whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment, Template


class Quoted(str):
    """Text that one of the quoting modules has made safe for its language."""

    __slots__ = ()


def _only_quoted(value: object) -> object:
    """`value`, where it may be printed; a plain string in a template is a bug, not a matter of luck."""
    if type(value) is Quoted or type(value) is int:
        return value
    raise TypeError(f"a template prints {type(value).__name__} {value!r}, which nobody has quoted")


class Renderer:
    """Templates by path, each compiled once."""

    def __init__(self, templates: Callable[[str], str]) -> None:
        self._text = templates
        self._environment: Environment | None = None
        self._compiled: dict[str, Template] = {}

    def render(self, path: str, view: object) -> str:
        """The text of template `path` for `view`, which the template knows by the name `view`."""
        template = self._compiled.get(path) or self._compile(path)
        return template.render(view=view)

    def text(self, path: str) -> str:
        """A shipped file as it is, for what is written without a template."""
        return self._text(path)

    def _compile(self, path: str) -> Template:
        # jinja2 takes 30 ms to import, and commands that write no target do without it
        from jinja2 import Environment, StrictUndefined

        if self._environment is None:
            # autoescape is for HTML; here `finalize` refuses whatever the language's own quoting has not seen
            self._environment = Environment(  # noqa: S701
                undefined=StrictUndefined,
                finalize=_only_quoted,
                trim_blocks=True,
                lstrip_blocks=True,
                keep_trailing_newline=True,
                auto_reload=False,
            )
        template = self._environment.from_string(self._text(path))
        self._compiled[path] = template
        return template
