from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from forgetflow.config.project import Project
from forgetflow.records.record_set import RecordSet, build_record_set, write_record_set
from forgetflow.records.schema import ColumnFeatures, RecordSchema
from forgetflow.requests.request import Request, make_request

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SCHEMA = RecordSchema(
    ("cat", "dog", "2"), ColumnFeatures(("age", "hours-per-week"), ("city",), hash_buckets=4)
)
PEOPLE = ["ann", "ann", "ann", "bob", "bob", "eve"]


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def records() -> RecordSet:
    """Six records r0 to r5: three of ann, two of bob, one of eve."""
    return build_record_set(
        SCHEMA,
        record_ids=[f"r{i}" for i in range(6)],
        subject_ids=PEOPLE,
        labels=[0, 1, 2, 0, 1, 2],
        priors=[0.1, None, 0.3, 0.5, None, 0.9],
        features={
            "age": [20.0, 30.0, 40.0, 50.0, 60.0, -1.0],
            "hours-per-week": [40.0, 40.0, 20.0, 20.0, 0.0, 0.0],
            "city": ["ulm", "ulm", "bonn", "bonn", "köln", ""],
        },
        where="test",
    )


@pytest.fixture(scope="session")
def make_project(
    tmp_path_factory: pytest.TempPathFactory, records: RecordSet
) -> Callable[..., Project]:
    def make(train: RecordSet | None = records) -> Project:
        project = Project(tmp_path_factory.mktemp("project"))
        (project.root / "params.yaml").write_text("unlearn: {method: sisa}\n")
        if train is not None:
            write_record_set(train, project.train, parts=1)
        return project

    return make


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project()


@pytest.fixture(scope="session")
def new_request() -> Callable[..., Request]:
    def new(clock: datetime = NOW, **fields: object) -> Request:
        return make_request(fields, due_days=30, now=clock, pseudonymise=lambda _: "p-" + "0" * 32)

    return new


@pytest.fixture(scope="session")
def event() -> Callable[[str, str], SimpleNamespace]:
    """A ledger entry as far as states are concerned."""
    return lambda batch, name: SimpleNamespace(batch=batch, event=name)
