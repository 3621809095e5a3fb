"""What grids of all studies check alike."""

from typing import Any

from forgetflow.errors import InputError

FEWEST_DRAWS = 30
"""Fewer draws of a forget set give no mean whose spread could be told."""


def make_distinct(grid: Any, *options: str, least: int = 1) -> None:
    """Let these options of a new grid hold distinct values, ascending.

    Raises:
        InputError: there is none, or one is below the least.
    """
    for name in options:
        values = tuple(sorted(set(getattr(grid, name))))
        if not values or values[0] < least:
            example = ",".join(str(least + step) for step in (0, 4, 9))
            raise InputError(f"--{name} needs one or more numbers from {least}, e.g. {example}")
        object.__setattr__(grid, name, values)


def require_at_least(least: int, grid: Any, *options: str) -> None:
    """Refuse options below their least value.

    Raises:
        InputError: one is.
    """
    for name in options:
        value = getattr(grid, name)
        if value < least:
            raise InputError(f"--{name} must be {least} or more, not {value}")
