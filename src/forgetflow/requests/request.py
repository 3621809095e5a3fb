"""A deletion request: which records, asked when and by whom, and by when it must be done."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from forgetflow.errors import InputError
from forgetflow.keys.digests import digest_of
from forgetflow.requests.pseudonym import PSEUDONYM, is_pseudonym
from forgetflow.requests.times import UtcTime, to_text, to_utc

SelectorKind = Literal["record", "subject", "label", "where"]
SELECTOR_KINDS: tuple[SelectorKind, ...] = ("record", "subject", "label", "where")

CLOCK_SKEW = timedelta(days=1)
"""How far in the future a time of receipt may lie before it is taken for a typing error."""


class Selector(NamedTuple):
    """What a request is about: one record, one subject, one class, or an expression."""

    kind: SelectorKind
    value: str


def _text_of_number(value: object) -> object:
    # JSON and Parquet write ids as numbers; bool is an int to Python but not to people.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, Field(min_length=1)]
Id = Annotated[Text, BeforeValidator(_text_of_number)]


class Request(BaseModel):
    """A deletion request with every default filled in.

    Attributes:
        request_id: given, or derived from selector, day of receipt and requester.
        record: record id; exactly one of `record`, `subject`, `label` and `where` is set.
        subject: subject id.
        label: class name, or class index as text.
        where: expression over columns, see `where.py`.
        received_at: when the request came in, UTC.
        due_at: when it must be done, UTC.
        reason: why, in the requester's or officer's words.
        requester: keyed pseudonym of whoever asked, see `pseudonym.py`.
        hold: why the request must wait; None when nothing holds it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: Annotated[Id, Field(max_length=200)]
    record: Id | None = None
    subject: Id | None = None
    label: Id | None = None
    where: Text | None = None
    received_at: UtcTime
    due_at: UtcTime
    reason: Text | None = None
    requester: Annotated[str, Field(pattern=PSEUDONYM)] | None = None
    hold: Text | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [kind for kind in SELECTOR_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of {', '.join(SELECTOR_KINDS)}, "
                f"not {' and '.join(given) or 'none'}"
            )
        if self.due_at < self.received_at:
            raise ValueError("due_at lies before received_at")
        return self

    @property
    def selector(self) -> Selector:
        """The one selector that is set."""
        kind = next(kind for kind in SELECTOR_KINDS if getattr(self, kind) is not None)
        return Selector(kind, getattr(self, kind))

    def days_left(self, now: datetime) -> int:
        """Return whole days until the due date; negative once it has passed."""
        return (self.due_at - now).days

    @model_serializer(mode="wrap")
    def _given(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in fields(self).items() if value is not None}


def make_request(
    fields: Mapping[str, Any],
    *,
    due_days: int,
    now: datetime,
    pseudonymise: Callable[[str], str],
) -> Request:
    """Check the fields of a request and fill in what is missing; None counts as missing.

    Args:
        fields: field name of `Request` -> value; `requester` may be given in clear.
        due_days: days from receipt to the due date when `due_at` is missing.
        now: time of receipt when `received_at` is missing.
        pseudonymise: turns a requester given in clear into a keyed pseudonym.

    Raises:
        InputError: an unknown field, not exactly one selector, or an unusable value. Values
            are left out of the message, because it may end up in a log.
    """
    now = to_utc(now)
    values = {name: value for name, value in fields.items() if value is not None}
    unknown = sorted(str(name) for name in set(values) - set(Request.model_fields))
    if unknown:
        raise InputError(
            f"unknown field '{unknown[0]}'; allowed are {', '.join(Request.model_fields)}"
        )
    requester = _text_of_number(values.get("requester"))
    if isinstance(requester, str) and requester and not is_pseudonym(requester):
        requester = pseudonymise(requester)
    try:
        received = to_utc(values.get("received_at", now))
        due = to_utc(values.get("due_at", received + timedelta(days=due_days)))
    except (ValueError, OverflowError) as error:
        raise InputError(f"received_at or due_at: {error}") from None
    if received > now + CLOCK_SKEW:
        raise InputError("received_at lies in the future")
    values |= {"requester": requester, "received_at": received, "due_at": due}
    try:
        # The id is derived from checked values, so the request is built before it has one.
        request = Request.model_validate({"request_id": "derived"} | values)
    except ValidationError as error:
        raise InputError(explain(error)) from None
    if "request_id" in values:
        return request
    return request.model_copy(update={"request_id": derived_id(request)})


def derived_id(request: Request) -> str:
    """Return the id of a request that came without one; the same request twice has one id."""
    day = to_text(request.received_at)[:10]
    return f"req-{digest_of([*request.selector, day, request.requester])[:16]}"


def explain(error: ValidationError) -> str:
    """Return a validation error as one sentence that names fields but no values."""
    parts = []
    for one in error.errors():
        path = ".".join(str(part) for part in one["loc"])
        message = one["msg"].removeprefix("Value error, ")
        parts.append(f"{path}: {message}" if path else message)
    return "; ".join(parts)
