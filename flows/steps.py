"""A line per step on standard error: what runs now, and about how long it takes.

    1/7 unlearn b1: sisa, 1 of 10 constituents, less than a second of training
    2/7 oracle of b1: retrain, 10 of 10 constituents, about 4 s of training
    3/7 measure b1, less than a second the last time

Results go to standard output and stay clean.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.files.atomic import write_atomically

FIRST = "no estimate: first run"
"""What is said of the duration of a step that was never timed here."""


@dataclass
class _Numbering:
    total: int
    number: int = 0


@dataclass
class _Step:
    made: int | None


_NUMBERING: ContextVar[_Numbering | None] = ContextVar("numbering", default=None)
_STEP: ContextVar[_Step | None] = ContextVar("step", default=None)


@contextmanager
def steps(total: int) -> Iterator[None]:
    """Number the steps inside the block, up to `total`, and say in the end how long all took."""
    token, started = _NUMBERING.set(_Numbering(total)), time.monotonic()
    try:
        yield
    finally:
        _NUMBERING.reset(token)
    say(f"done in {roughly(time.monotonic() - started)}")


@contextmanager
def step(
    project: Project, kind: str, what: str, forecast: str = "", *, counts: bool = False
) -> Iterator[None]:
    """Say that a step begins and about how long it takes, and remember how long it took.

    Args:
        project: where durations are remembered.
        kind: the next step of the same kind is expected to take as long.
        what: the step in words.
        forecast: what to say of its duration where more is known than that of the last one.
        counts: whether the block calls `made`. A step that made nothing, because all was there
            already, tells nothing of the next one and is not remembered.
    """
    known = durations(project)
    if not forecast:
        forecast = f"{roughly(known[kind])} the last time" if kind in known else FIRST
    announce(f"{what}, {forecast}")
    started, running = time.monotonic(), _Step(0 if counts else None)
    token = _STEP.set(running)
    try:
        yield
    finally:
        _STEP.reset(token)
    if running.made != 0:
        known = durations(project) | {kind: round(time.monotonic() - started, 3)}
        write_atomically(_file(project), json.dumps(known, sort_keys=True).encode())


def announce(what: str) -> None:
    """Say a step, under its number where steps are numbered."""
    numbering = _NUMBERING.get()
    if numbering is None:
        say(what)
        return
    numbering.number += 1
    say(f"{numbering.number}/{numbering.total} {what}")


def made(count: int) -> None:
    """Count things that the running step has to make."""
    running = _STEP.get()
    if running is not None:
        running.made = (running.made or 0) + count


def detail(what: str) -> None:
    """Say a part of a step, where no terminal shows it as a bar."""
    if not sys.stderr.isatty():
        say(f"    {what}")


def say(line: str) -> None:
    """Write a line for people."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def roughly(seconds: float) -> str:
    """Return a duration as precisely as a forecast can be: `less than a second`, `about 4 s`."""
    if seconds < 1:
        return "less than a second"
    if seconds < 100:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"


def durations(project: Project) -> dict[str, float]:
    """Return kind of step -> seconds that the last one took here."""
    try:
        return dict(json.loads(_file(project).read_bytes()))
    except (FileNotFoundError, json.JSONDecodeError):  # no reason to stop a deletion
        return {}


def _file(project: Project) -> Path:
    return project.state / "durations.json"
