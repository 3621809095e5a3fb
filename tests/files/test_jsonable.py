"""Dataclasses as JSON and back: the declared fields and types, or a refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field, computed_field

from forgetflow.files.jsonable import from_json, to_json


@dataclass(frozen=True)
class Part:
    """One part."""

    names: tuple[str, ...]
    share: float | None = None


@dataclass(frozen=True)
class Whole:
    """Parts by number, one field under another name, one property that is written."""

    number: Annotated[int, Field(alias="version")]
    parts: Mapping[int, Part]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def empty(self) -> bool:
        """Whether there is no part."""
        return not self.parts


WHOLE = Whole(2, {1: Part(("a", "b"), 0.5), 3: Part(())})
DATA = {
    "version": 2,
    "parts": {"1": {"names": ["a", "b"], "share": 0.5}, "3": {"names": [], "share": None}},
    "empty": False,
}


def test_there_and_back():
    assert to_json(WHOLE) == DATA
    assert from_json(Whole, DATA) == WHOLE


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"version": "2"},
        {"empty": True},
        {"parts": {"1": {"names": ["a"]}}},
        {"parts": {"1": {"names": [1], "share": None}}},
        {"parts": []},
    ],
)
def test_anything_else_is_refused(change):
    with pytest.raises(ValueError, match="Whole"):
        from_json(Whole, DATA | change)


@pytest.mark.parametrize("field", DATA)
def test_a_missing_field_is_refused(field):
    with pytest.raises(ValueError, match="Whole"):
        from_json(Whole, {name: value for name, value in DATA.items() if name != field})


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_something_else_is_refused(data):
    with pytest.raises(ValueError, match="Whole"):
        from_json(Whole, data)
