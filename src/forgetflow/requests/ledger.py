"""The ledger: what was done to each batch, append-only and hash-chained. No personal data.

`data/forget/ledger.jsonl` is in git. Each line is the canonical JSON of

    {seq, at, event, batch, facts, previous, digest}

where `digest` is the sha256 over the line without it and `previous` the digest of the line
before (64 zeros for the first). So no line can be edited, moved, put in or taken out of the
middle without `verify` naming the first line that no longer fits. Whole lines missing at the
end cannot be told from lines never written: pass the digest a certificate quotes as `head`.

A crash while appending leaves a last line without its newline. Nobody was told that it is
written, so reading ignores it and the next append takes it out, or, when only the newline is
missing, ends it. A line that has its newline is never repaired.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from forgetflow.config.project import Project
from forgetflow.errors import InputError, VerdictError
from forgetflow.files.locks import locked
from forgetflow.keys.digests import canonical_json, digest_of
from forgetflow.requests.batches import GENERATION
from forgetflow.requests.pseudonym import PSEUDONYM
from forgetflow.requests.times import moment, to_text

Event = Literal[
    "sealed",
    "unlearned",
    "verified",
    "published",
    "failed_before_publish",
    "erased",
    "certified",
    "erase_incomplete",
]
EVENTS: tuple[Event, ...] = get_args(Event)
SETBACKS: frozenset[str] = frozenset({"failed_before_publish", "erase_incomplete"})

GENESIS = "0" * 64
"""What the first entry names as its previous digest."""

# Digests, pseudonyms, timestamps and single words: a guard that free text, names and messages
# of exceptions do not reach git.
_HARMLESS = re.compile(
    rf"[0-9a-f]{{32,128}}|{PSEUDONYM}|\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ|[a-z][a-z0-9_]{{0,39}}"
)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Attributes:
        seq: position, from 1.
        at: when it was written, UTC.
        event: one of `EVENTS`.
        batch: batch id.
        facts: counts and digests.
        previous: digest of the entry before.
        digest: sha256 over the entry without this field.
    """

    seq: int
    at: str
    event: str
    batch: str
    facts: Mapping[str, Any]
    previous: str
    digest: str

    @classmethod
    def after(
        cls, previous: "Entry | None", event: str, batch: str, facts: Mapping[str, Any], at: str
    ) -> "Entry":
        """Return the entry that follows `previous`."""
        content: dict[str, Any] = {
            "seq": previous.seq + 1 if previous else 1,
            "at": at,
            "event": event,
            "batch": batch,
            "facts": dict(facts),
            "previous": previous.digest if previous else GENESIS,
        }
        return cls(**content, digest=digest_of(content))

    def line(self) -> bytes:
        """Return the one encoding of the entry, without the newline."""
        return canonical_json(asdict(self))


class Ledger:
    """The ledger of a project."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.path = project.forget / "ledger.jsonl"

    def entries(self) -> list[Entry]:
        """Return all entries, oldest first.

        Raises:
            VerdictError: the chain is broken; names the first line that does not fit.
        """
        return self._read()[0]

    def verify(self, head: str | None = None) -> list[Entry]:
        """Check the whole chain and return its entries.

        Args:
            head: digest of an entry that must be there, as quoted by a certificate.

        Raises:
            VerdictError: the chain is broken (names the first broken line) or lacks `head`.
        """
        entries = self.entries()
        if head is not None and head not in {entry.digest for entry in entries}:
            raise VerdictError(
                f"{self.path} has no entry {head[:12]}: lines were cut off; restore it with git"
            )
        return entries

    def append(
        self,
        event: Event,
        batch: str,
        facts: Mapping[str, Any] | None = None,
        clock: datetime | None = None,
    ) -> Entry | None:
        """Write an entry, on disk when this returns; None when it was said already.

        Said already means: the latest entry of this event for this batch has the same facts,
        and no setback (after progress) or progress (after a setback) of the batch came since.

        Args:
            event: what happened.
            batch: whom it happened to.
            facts: numbers, digests, pseudonyms, timestamps and single lower-case words, also
                nested.
            clock: when; default now.

        Raises:
            InputError: an unknown event, a malformed batch, or facts of another kind.
            VerdictError: the chain is broken.
        """
        facts = dict(facts or {})
        if event not in EVENTS:
            raise InputError(f"ledger: unknown event '{event}'; there are {', '.join(EVENTS)}")
        if not GENERATION.fullmatch(batch):
            raise InputError("ledger: the batch must be an id such as b1")
        _check_facts(facts, "facts")
        with locked(self.project.locks, "ledger"):
            entries, sound = self._read()
            if _said_already(entries, event, batch, facts):
                return None
            at = to_text(moment(clock))
            entry = Entry.after(entries[-1] if entries else None, event, batch, facts, at)
            self._write(entry, sound)
            return entry

    def _read(self) -> tuple[list[Entry], int]:
        """Return the entries, and the number of leading bytes that hold them."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return [], 0
        *complete, tail = data.split(b"\n")
        entries: list[Entry] = []
        for line in complete:
            entries.append(self._follow(entries, line))
        sound = len(data) - len(tail)
        # A line cut short is never JSON, because its closing brace comes last.
        if tail and _parse(tail) is not None:
            entries.append(self._follow(entries, tail))
            sound = len(data)
        return entries, sound

    def _follow(self, entries: list[Entry], line: bytes) -> Entry:
        """Return the entry of `line` if it is genuine and continues `entries`."""
        where = f"{self.path}: line {len(entries) + 1}"
        found = _parse(line)
        if found is None:
            raise VerdictError(f"{where} is not an entry; restore the ledger with git")
        last = entries[-1] if entries else None
        rebuilt = Entry.after(last, found.event, found.batch, found.facts, found.at)
        if rebuilt.line() == line:
            return found
        if (found.seq, found.previous) != (rebuilt.seq, rebuilt.previous):
            raise VerdictError(
                f"{where} does not continue the line before it; restore the ledger with git"
            )
        raise VerdictError(f"{where} was altered; restore the ledger with git")

    def _write(self, entry: Entry, sound: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(sound)
            # The newline that a crash may have kept from the entry before.
            unended = sound > 0 and self.path.read_bytes()[sound - 1 : sound] != b"\n"
            file.write((b"\n" if unended else b"") + entry.line() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _parse(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
        entry.line()  # refuses what canonical JSON has no form for, such as NaN
    except (ValueError, TypeError, RecursionError):
        return None
    return entry if isinstance(entry.facts, dict) and entry.event in EVENTS else None


def _said_already(
    entries: Iterable[Entry], event: str, batch: str, facts: Mapping[str, Any]
) -> bool:
    for entry in reversed([entry for entry in entries if entry.batch == batch]):
        if entry.event == event:
            return canonical_json(entry.facts) == canonical_json(facts)
        if (entry.event in SETBACKS) != (event in SETBACKS):
            return False
    return False


def _check_facts(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_facts(str(key), f"{where} (a key)")
            _check_facts(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            _check_facts(item, where)
    elif isinstance(value, str):
        if not _HARMLESS.fullmatch(value):
            raise InputError(
                f"ledger: {where} holds free text; only counts, digests, pseudonyms, timestamps "
                "and single words may go into git"
            )
    elif value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
        raise InputError(f"ledger: {where} is no number, digest or word")
