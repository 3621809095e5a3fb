"""What a study is: trials over a grid, put together as tables, figures and a page.

    grid ──► trials ──► one cached task each ──► assemble ──► results ──► tables, metrics, note
               └─ measures[trial.measure](data, grid, **trial.arguments)

A study is functions over records and settings; `flows/study.py` runs, caches and publishes any of
them. A new one is a file here, a line in `registry.py`, a page and a verb of the command line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Generic, Protocol, TypeVar

from forgetflow.config.project import Project
from forgetflow.config.settings import Settings
from forgetflow.files.formats import csv_bytes, json_bytes
from forgetflow.files.jsonable import to_json
from forgetflow.records.record_set import RecordSet, read_record_set
from forgetflow.training import environment
from forgetflow.training.recipe import Recipe

Row = dict[str, Any]
"""One line of a table; JSON-ready."""


@dataclass(frozen=True, eq=False)
class StudyData:
    """Records and settings that a study looks at; models and store of the project are not.

    Attributes:
        settings: `params.yaml`.
        records: the training set, N records.
        test: the test set.
        root: folder of the project, where relative paths start.
    """

    settings: Settings
    records: RecordSet
    test: RecordSet
    root: Path = Path()

    @classmethod
    def open(cls, project: Project) -> "StudyData":
        """Read a project's records; checks every digest of the training set.

        Raises:
            InputError: there are no records yet.
            VerdictError: a record was altered.
        """
        records, test = read_record_set(project.train), read_record_set(project.test)
        records.check_digests()
        return cls(project.settings, records, test, project.root)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the project's own constituents."""
        return self.recipe_of(self.settings)

    def recipe_of(self, settings: Settings) -> Recipe:
        """Return the recipe that other settings would give these records."""
        schema = self.records.schema
        return Recipe.from_settings(
            settings, schema.input_shape, len(schema.class_names), self.root
        )

    @property
    def counts(self) -> Row:
        """Number of records, subjects and test records: facts of every study."""
        return {
            "records": len(self.records),
            "subjects": len(set(self.records.subject_ids)),
            "test_records": len(self.test),
        }

    @property
    def training(self) -> Row:
        """Seed, model, training settings and machine: facts of studies that train networks."""
        settings = self.settings
        return {
            "seed": settings.run.seed,
            "model": settings.model.model_dump(mode="json"),
            "train": settings.train.model_dump(mode="json", exclude={"checkpoint_seconds"}),
            "environment": environment.fingerprint(self.recipe.device),
        }


class Grid(Protocol):
    """What a study compares, a dataclass of numbers and words; see `files.jsonable`."""

    def check(self, data: StudyData) -> None:
        """Refuse what these records and settings cannot fill.

        Raises:
            InputError: with what to ask for instead.
        """


@dataclass(frozen=True)
class Trial:
    """One thing that a study measures: a task of its own, cached.

    Attributes:
        measure: name of the function among `Study.measures`.
        title: what people see, e.g. `build 5 x 4`.
        arguments: what the function is told besides data and grid; JSON-ready.
        made_of: all else that decides the result, besides code; JSON-ready.
        computes: whether it takes a computing slot.
    """

    measure: str
    title: str
    arguments: Mapping[str, Any]
    made_of: Mapping[str, Any]
    computes: bool = True


G = TypeVar("G", bound=Grid)
R = TypeVar("R")


@dataclass(frozen=True)
class Study(Generic[G, R]):
    """One study.

    Attributes:
        name: verb of the command line, folder of the results.
        grid: what is compared.
        results: dataclass of rows; aggregates only.
        measures: name -> function (data, grid, **arguments) -> JSON-ready value.
        trials: every trial that a grid asks for.
        assemble: results from data, grid, and measure -> values in the order of its trials.
        tables: file name -> attribute of the results.
        metrics: the main results by name, for MLflow.
        note: one sentence in Markdown about the results.
        verdict: raises VerdictError where the results, once written, condemn what they are of.
    """

    name: str
    grid: type[G]
    results: type[R]
    measures: Mapping[str, Callable[..., Any]]
    trials: Callable[[StudyData, G], list[Trial]]
    assemble: Callable[[StudyData, G, Mapping[str, list[Any]]], R]
    tables: Mapping[str, str]
    metrics: Callable[[R], dict[str, float]]
    note: Callable[[R], str]
    verdict: Callable[[R], None] = lambda _: None

    def files(self, found: R) -> dict[str, bytes]:
        """Return file name -> content of the results, without their page."""
        tables = {file: csv_bytes(getattr(found, rows)) for file, rows in self.tables.items()}
        return tables | {f"{self.name}.json": json_bytes(to_json(found))}


def spread(name: str, values: Sequence[float]) -> Row:
    """Return the columns `<name>`, a mean, and `<name>_sd`, None where there is one value."""
    return {name: mean(values), f"{name}_sd": stdev(values) if len(values) > 1 else None}
