"""`dataclass` of the standard library, in a quarter of its time: what a build spent most of its start on.

`dataclasses.dataclass` compiles six functions and makes the class twice, for each of the hundred records that a build
imports. This one compiles `__init__` alone; the other methods are shared and read the fields by one `attrgetter`.
The type checker sees the standard decorator, and `dataclasses.fields` and `replace` work as ever.
tests/unit/ir/test_record.py holds it against the standard one, and each record of the package against its fields.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, Field, FrozenInstanceError
from inspect import get_annotations
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic

_FROM_FACTORY = object()  # the default of a field that a factory fills
_OTHERWISE = ("ClassVar", "InitVar", "KW_ONLY", "typing.", "dataclasses.")

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - said to be exported
else:

    def dataclass(**options):  # noqa: ANN003, ANN201 - the standard one's annotations are what is checked
        """As dataclasses.dataclass with these options; what it is not made for goes to the standard one."""
        return lambda cls: _record(cls, options) if _is_plain(cls, options) else dataclasses.dataclass(**options)(cls)


def _is_plain(cls: type, options: dict[str, bool]) -> bool:
    """True for a class with slots, without a data class above it, and without what needs the standard decorator."""
    annotations = get_annotations(cls)
    described = [one for one in vars(cls).values() if isinstance(one, Field)]
    return (
        bool(options.get("slots"))
        and options.keys() <= {"frozen", "slots", "kw_only", "eq"}
        and set(cls.__bases__) <= {object, Generic}
        and not hasattr(cls, "__post_init__")
        and not any(str(kind).startswith(_OTHERWISE) for kind in annotations.values())
        and all(one.init and one.hash is None and one.kw_only is MISSING for one in described)
    )


def _record(cls: type, options: dict[str, bool]) -> type:
    """A class like `cls` with slots and the methods of a data class."""
    given = dict(cls.__dict__)
    names = tuple(get_annotations(cls))
    defaults = {name: given.pop(name) for name in names if name in given}
    for name in ("__dict__", "__weakref__"):
        given.pop(name, None)
    described = {name: one for name, one in defaults.items() if isinstance(one, Field)}
    compared = tuple(name for name in names if name not in described or described[name].compare)
    shown = tuple(name for name in names if name not in described or described[name].repr)
    frozen, kw_only = options.get("frozen", False), options.get("kw_only", False)
    given["__slots__"] = names
    given["__dataclass_fields__"] = _Fields(cls, defaults, options)
    given["__match_args__"] = () if kw_only else names
    given.setdefault("__repr__", _repr_of(shown))
    if options.get("eq", True):
        values_of = _values_of(compared)
        given.setdefault("__eq__", _eq_of(values_of))
        given.setdefault("__hash__", _hash_of(values_of) if frozen else None)
    if frozen:
        given["__setattr__"], given["__delattr__"] = _refuse_set, _refuse_delete
        given["__getstate__"], given["__setstate__"] = _state, _set_state
    made = type(cls)(cls.__name__, cls.__bases__, given)
    init = _init_of(made, names, defaults, frozen, kw_only)
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    type.__setattr__(made, "__init__", init)
    return made


def _init_of(
    made: type, names: tuple[str, ...], defaults: dict[str, Any], frozen: bool, kw_only: bool
) -> Callable[..., None]:
    """`__init__` of a record, which sets each slot by its own descriptor where the record is frozen."""
    scope: dict[str, Any] = {}
    parameters = ["self", *(["*"] if kw_only and names else ())]
    body: list[str] = []
    for name in names:
        one = defaults.get(name, MISSING)
        default = one.default if isinstance(one, Field) else one
        factory = one.default_factory if isinstance(one, Field) else MISSING
        value = name
        if factory is not MISSING:
            scope[f"_make_{name}"] = factory
            value = f"_make_{name}() if {name} is _default_{name} else {name}"
            default = _FROM_FACTORY
        if default is not MISSING:
            scope[f"_default_{name}"] = default
        parameters.append(name if default is MISSING else f"{name}=_default_{name}")
        if frozen:
            scope[f"_set_{name}"] = made.__dict__[name].__set__
            body.append(f" _set_{name}(self, {value})")
        else:
            body.append(f" self.{name} = {value}")
    exec(f"def __init__({', '.join(parameters)}):\n" + ("\n".join(body) or " pass"), scope)  # noqa: S102 - names of fields
    made_init: Callable[..., None] = scope["__init__"]
    return made_init


class _Fields:
    """`__dataclass_fields__`, made by the standard decorator when somebody asks: few records are ever replaced."""

    def __init__(self, cls: type, defaults: dict[str, Any], options: dict[str, bool]) -> None:
        self._cls, self._defaults, self._options = cls, defaults, options

    def __get__(self, _: object, owner: type) -> dict[str, Field[Any]]:
        body = {"__annotations__": get_annotations(self._cls), "__module__": self._cls.__module__, **self._defaults}
        standard: type = dataclasses.dataclass(**self._options)(type(self._cls.__name__, (), body))
        fields: dict[str, Field[Any]] = vars(standard)["__dataclass_fields__"]
        type.__setattr__(owner, "__dataclass_fields__", fields)
        return fields


def _values_of(names: tuple[str, ...]) -> Callable[[Any], object]:
    """The values of the fields that are compared, one or a tuple."""
    return attrgetter(*names) if names else lambda _: ()


def _eq_of(values_of: Callable[[Any], object]) -> Callable[[Any, object], bool]:
    def eq_by_fields(self: Any, other: object) -> bool:
        return values_of(self) == values_of(other) if other.__class__ is self.__class__ else NotImplemented

    return eq_by_fields


def _hash_of(values_of: Callable[[Any], object]) -> Callable[[Any], int]:
    def hash_by_fields(self: Any) -> int:
        return hash(values_of(self))

    return hash_by_fields


def _repr_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def repr_by_fields(self: Any) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
        return f"{self.__class__.__qualname__}({shown})"

    return repr_by_fields


def _refuse_set(self: object, name: str, value: object) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[object]:
    """What copy and pickle keep: the values by field."""
    return [getattr(self, name) for name in self.__slots__]


def _set_state(self: Any, state: list[object]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)
