"""gslc.ir.record.dataclass gives what dataclasses.dataclass gives."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import pickle
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, field, fields, replace
from typing import Any, Generic, TypeVar

import pytest

import gslc
from gslc.ir import record

T = TypeVar("T")
Decorator = Callable[..., Callable[[type], type]]


def card(decorator: Decorator, **options: bool) -> Any:
    """A record with every kind of field, made by a decorator."""

    class Card:
        """A card."""

        model: str
        memory_bytes: int
        links: tuple[int, ...] = ()
        note: str | None = field(default=None, compare=False)
        text: str = field(default="", repr=False)
        tags: list[str] = field(default_factory=list, compare=False)

        @property
        def mib(self) -> int:
            """In MiB."""
            return self.memory_bytes // 1024**2

    Card.__qualname__ = "Card"
    return decorator(**options)(Card)


FROZEN = {"frozen": True, "slots": True, "kw_only": True}
KINDS: tuple[dict[str, bool], ...] = (
    FROZEN,
    {"frozen": True, "slots": True},
    {"slots": True},
    {"slots": True, "eq": False},
    {"slots": True, "kw_only": True},
)
VALUES: tuple[dict[str, Any], ...] = (
    {"model": "A", "memory_bytes": 1024**3},
    {"model": "A", "memory_bytes": 1024**3, "note": "another", "tags": ["x"]},
    {"model": "A", "memory_bytes": 1024**3, "links": (1, 2)},
    {"model": "B", "memory_bytes": 7, "text": "t"},
)


@pytest.fixture(params=KINDS, ids="+".join)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """One class made here and its standard twin."""
    ours, standard = card(record.dataclass, **request.param), card(dataclasses.dataclass, **request.param)
    assert isinstance(vars(ours)["__dataclass_fields__"], record._Fields), "it must not go to the standard one"
    return ours, standard


def test_construction_is_the_same(pair: tuple[Any, Any]) -> None:
    ours, standard = pair
    got, expected = inspect.signature(ours), inspect.signature(standard)
    assert [(p.name, p.kind) for p in got.parameters.values()] == [
        (p.name, p.kind) for p in expected.parameters.values()
    ]
    assert [p.default is p.empty for p in got.parameters.values()] == [
        p.default is p.empty for p in expected.parameters.values()
    ]
    for wrong in ({}, {"model": "A"}, {"model": "A", "memory_bytes": 1, "colour": 1}):
        with pytest.raises(TypeError) as ours_said:
            ours(**wrong)
        with pytest.raises(TypeError) as standard_said:
            standard(**wrong)
        assert str(ours_said.value).rsplit(".", 1)[-1] == str(standard_said.value).rsplit(".", 1)[-1]
    assert ours.__match_args__ == standard.__match_args__
    assert ours.__slots__ == standard.__slots__
    assert ours.__doc__ == standard.__doc__


def test_each_instance_has_a_list_of_its_own(pair: tuple[Any, Any]) -> None:
    ours, _ = pair
    first, second = ours(**VALUES[0]), ours(**VALUES[0])
    first.tags.append("x")
    assert second.tags == []
    assert first.mib == 1024


def test_equality_hash_and_repr_are_the_same(pair: tuple[Any, Any]) -> None:
    ours, standard = pair
    mine, theirs = [ours(**values) for values in VALUES], [standard(**values) for values in VALUES]
    assert [[a == b for b in mine] for a in mine] == [[a == b for b in theirs] for a in theirs]
    assert [repr(one) for one in mine] == [repr(one) for one in theirs]
    assert mine[0] != theirs[0]
    assert (ours.__hash__ is None) == (standard.__hash__ is None)
    if ours.__hash__ is not None:
        assert len(set(mine)) == len(set(theirs))


def test_fields_replace_copy_and_pickle(pair: tuple[Any, Any]) -> None:
    ours, standard = pair
    assert [(f.name, f.repr, f.compare, f.type) for f in fields(ours)] == [
        (f.name, f.repr, f.compare, f.type) for f in fields(standard)
    ]
    one = ours(**VALUES[2])
    assert repr(replace(one, model="C")) == repr(replace(standard(**VALUES[2]), model="C"))
    with pytest.raises(TypeError):
        replace(one, colour=1)
    again = copy.deepcopy(one)
    assert repr(again) == repr(one)
    assert again is not one


def test_what_is_frozen_stays(pair: tuple[Any, Any]) -> None:
    for made in pair:
        one = made(**VALUES[0])
        if made.__hash__ is not None and made.__eq__ is not object.__eq__:
            with pytest.raises(FrozenInstanceError, match="cannot assign to field 'model'"):
                one.model = "B"
            with pytest.raises(FrozenInstanceError, match="cannot delete field 'model'"):
                del one.model
        else:
            one.model = "B"
            assert one.model == "B"
        with pytest.raises((AttributeError, TypeError)):
            one.colour = 1


@record.dataclass(frozen=True, slots=True, kw_only=True)
class Box(Generic[T]):
    """A record of any value."""

    value: T
    empty: tuple[int, ...] = ()


def test_a_generic_record_can_be_pickled() -> None:
    one: Box[str] = Box[str](value="x")
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(one) == hash(Box(value="x"))


def test_what_it_is_not_made_for_goes_to_the_standard_one() -> None:
    class Odd:
        """Checks itself."""

        size: int

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError("below 0")

    made: Any = record.dataclass(frozen=True, slots=True, kw_only=True)(Odd)
    with pytest.raises(ValueError, match="below 0"):
        made(size=-1)
    ordered: Any = record.dataclass(frozen=True, slots=True, order=True)(type("V", (), {"__annotations__": {"n": int}}))
    assert ordered(1) < ordered(2)


def records() -> Iterator[type]:
    """Every record of the package."""
    for module in pkgutil.walk_packages(gslc.__path__, "gslc."):
        if not module.name.endswith("__main__"):
            for one in vars(importlib.import_module(module.name)).values():
                if isinstance(one, type) and one.__module__ == module.name and dataclasses.is_dataclass(one):
                    yield one


def test_every_record_of_the_package_takes_its_fields() -> None:
    found = list(records())
    assert len(found) > 150
    for one in found:
        taken = list(inspect.signature(one).parameters.values())
        assert [parameter.name for parameter in taken] == [f.name for f in fields(one) if f.init], one
        has_default = [f.default is not f.default_factory for f in fields(one) if f.init]
        assert [parameter.default is not parameter.empty for parameter in taken] == has_default, one
