"""Moments in time: always UTC, whole seconds, one spelling (`2026-01-31T12:00:00Z`)."""

from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer


def utc_now() -> datetime:
    """Return the current moment, in UTC and whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def moment(clock: datetime | None) -> datetime:
    """Return the moment a caller's clock shows, by default the current one."""
    return utc_now() if clock is None else to_utc(clock)


def to_utc(value: object) -> datetime:
    """Return a moment given as ISO 8601 text, datetime or date; without a zone it is UTC.

    Numbers are refused: `20260131` would silently mean a day in 1970.

    Raises:
        ValueError: `value` is not such a moment.
    """
    try:
        when = value if isinstance(value, date) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("not an ISO 8601 time such as 2026-01-31T12:00:00Z") from None
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    try:
        return when.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("a time outside the years 1 to 9999") from None


def to_text(moment: datetime) -> str:
    """Return the one spelling of a moment; `to_utc(to_text(m)) == m`."""
    return moment.isoformat().replace("+00:00", "Z")


UtcTime = Annotated[datetime, BeforeValidator(to_utc), PlainSerializer(to_text, when_used="json")]
"""A pydantic field that reads with `to_utc` and writes with `to_text`."""
