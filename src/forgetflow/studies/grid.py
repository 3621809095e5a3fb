"""What grids of all studies check alike."""

from collections.abc import Iterable

from forgetflow.errors import InputError

FEWEST_DRAWS = 30
"""Fewer draws of a forget set give no mean whose spread could be told."""


def distinct(name: str, values: Iterable[int], least: int = 1) -> tuple[int, ...]:
    """Return the distinct values of an option, ascending.

    Raises:
        InputError: there is none, or one is below the least.
    """
    found = tuple(sorted(set(values)))
    if not found or found[0] < least:
        example = ",".join(str(least + step) for step in (0, 4, 9))
        raise InputError(f"--{name} needs one or more numbers from {least}, e.g. {example}")
    return found


def at_least(least: int, **options: int) -> None:
    """Refuse options below their least value.

    Raises:
        InputError: one is.
    """
    for name, value in options.items():
        if value < least:
            raise InputError(f"--{name} must be {least} or more, not {value}")
