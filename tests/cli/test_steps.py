"""What a flow says of its steps: their number, and how long they take as far as that is known."""

import sys

import pytest

from flows.steps import FIRST, announce, detail, durations, made, roughly, step, steps
from forgetflow.config.project import Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def said(capsys) -> list[str]:
    printed = capsys.readouterr()
    assert not printed.out
    return printed.err.splitlines()


def test_steps_are_numbered_and_the_whole_is_timed(project, capsys):
    with steps(3):
        with step(project, "measure", "measure b1"):
            pass
        announce("no audit of b1: evaluate.audit.members is 0")
        with step(project, "unlearn sisa", "unlearn b2: sisa", "about 3 s of training"):
            pass
    *lines, last = said(capsys)
    assert lines == [
        f"1/3 measure b1, {FIRST}",
        "2/3 no audit of b1: evaluate.audit.members is 0",
        "3/3 unlearn b2: sisa, about 3 s of training",
    ]
    assert last == "done in less than a second"


def test_a_step_alone_has_no_number(project, capsys):
    with step(project, "measure", "measure b1"):
        pass
    assert said(capsys) == [f"measure b1, {FIRST}"]


def test_the_second_time_says_how_long_the_first_took(project, capsys):
    for _ in range(2):
        with step(project, "measure", "measure b1"):
            pass
    first, second = said(capsys)
    assert first.endswith(FIRST)
    assert second == "measure b1, less than a second the last time"
    with step(project, "report", "report"):
        pass
    assert said(capsys) == [f"report, {FIRST}"]


def test_a_step_that_found_all_there_is_not_remembered(project):
    with step(project, "audit sisa", "audit b1", counts=True):
        made(0)
    assert durations(project) == {}
    with step(project, "audit sisa", "audit b1", counts=True):
        made(0)
        made(16)
    assert set(durations(project)) == {"audit sisa"}


def test_a_step_that_fails_is_not_remembered_and_ends_the_numbering(project, capsys):
    with pytest.raises(ZeroDivisionError), steps(2), step(project, "measure", "measure b1"):
        _ = 1 / 0
    assert durations(project) == {}
    announce("later")
    assert said(capsys) == [f"1/2 measure b1, {FIRST}", "later"]


def test_damaged_durations_stop_nothing(project, capsys):
    project.state.mkdir()
    (project.state / "durations.json").write_text("{")
    with step(project, "measure", "measure b1"):
        pass
    assert said(capsys) == [f"measure b1, {FIRST}"]
    assert set(durations(project)) == {"measure"}


def test_details_are_for_those_who_see_no_bars(capsys, monkeypatch):
    detail("pool of oracle: 16 of 16 models to make")
    assert said(capsys) == ["    pool of oracle: 16 of 16 models to make"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    detail("pool of oracle: 16 of 16 models to make")
    assert said(capsys) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0133, "less than a second"),
        (3.7, "about 4 s"),
        (99, "about 99 s"),
        (130, "about 2 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_a_forecast_is_no_more_precise_than_it_can_be(seconds, text):
    assert roughly(seconds) == text
