"""Dataclasses as JSON and back; what is read has the declared fields and types, or is refused.

from_json(type(x), to_json(x)) == x

A field that is called otherwise in JSON has a pydantic alias; a property that is written as well is
a `computed_field`.
"""

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # the help of the command line does without
    from pydantic import TypeAdapter

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return a dataclass, and whatever it holds, as mappings, lists, numbers and text."""
    return _adapter(type(value)).dump_python(value, mode="json", by_alias=True)


def from_json(kind: type[T], data: Any) -> T:
    """Return the dataclass that `to_json` made `data` of.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    made: T = _adapter(kind).validate_python(data)
    if to_json(made) != data:
        raise ValueError(f"this is not what a {kind.__name__} looks like as JSON")
    return made


def _adapter(kind: Any) -> "TypeAdapter[Any]":
    if kind not in _ADAPTERS:
        from pydantic import TypeAdapter

        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


_ADAPTERS: "dict[Any, TypeAdapter[Any]]" = {}
