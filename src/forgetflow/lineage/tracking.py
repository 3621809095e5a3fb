"""The project's MLflow: where it is, and its experiment, made once even when two start at once."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forgetflow.config.project import Project
from forgetflow.errors import InputError
from forgetflow.files.locks import locked
from forgetflow.lineage.view import VIEW_TAG, model_link, saved_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # A wrong address should be told in seconds; MLflow's own default backs off for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
"""Environment that MLflow reads while it is imported; what the user has set wins."""

KIND = ("mlflow.experimentKind", "custom_model_development")
"""Tag that says what an experiment is for: models, not agents."""

NOTE = "mlflow.note.content"
"""Tag that the UI shows as the description of an experiment or a run."""


def tracking_uri(project: Project) -> str:
    """Return where MLflow keeps the project's runs: `lineage.tracking_uri`, or a local file."""
    return project.settings.lineage.tracking_uri or f"sqlite:///{project.root / 'mlflow.db'}"


def database(project: Project) -> Path | None:
    """Return the project's own database file; None when params.yaml names another store."""
    return None if project.settings.lineage.tracking_uri else project.root / "mlflow.db"


def artifact_root(project: Project) -> str | None:
    """Return where the experiment keeps files; None lets a tracking server decide."""
    served = urlsplit(tracking_uri(project)).scheme in ("http", "https", "databricks")
    return None if served else str(project.root / "mlartifacts")


def connect(project: Project) -> "MlflowClient":
    """Return a client of the project's MLflow, with its database and experiment in place.

    MLflow's registry resolves a logged model through the process-wide tracking address, so that
    is set too; `mlflow.pyfunc.load_model("models:/NAME@serving")` works right after.

    Raises:
        InputError: the tracking store cannot be used, or the experiment was deleted in it.
        ForgetflowError: another process kept the lock for longer than `PATIENCE`.
    """
    quieten()
    import mlflow

    uri = tracking_uri(project)
    with locked(project.locks, "mlflow"), refusals_told():
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        _prepare_experiment(client, project)
    return client


def experiment_of(client: "MlflowClient", project: Project) -> "Experiment":
    """Return the project's experiment; `connect` has made it."""
    found = client.get_experiment_by_name(project.settings.lineage.experiment)
    if found is None:
        raise InputError("MLflow has lost the project's experiment: run the command again")
    return found


def quieten() -> None:
    """Switch off telemetry, progress bars and chatter; call before MLflow is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


@contextmanager
def refusals_told() -> Iterator[None]:
    """Turn what MLflow refuses inside the block into one sentence.

    Raises:
        InputError: MLflow raised; the first line of its message is kept.
    """
    quieten()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise InputError(
            f"MLflow refused: {str(error).splitlines()[0]} "
            "(check lineage.tracking_uri in params.yaml, and that no run or version was deleted)"
        ) from error


def _prepare_experiment(client: "MlflowClient", project: Project) -> None:
    name = project.settings.lineage.experiment
    wanted = {KIND[0]: KIND[1], NOTE: _experiment_note(project), VIEW_TAG: saved_view()}
    found = client.get_experiment_by_name(name)
    if found is None:
        client.create_experiment(name, artifact_location=artifact_root(project), tags=wanted)
        return
    if found.lifecycle_stage != "active":
        raise InputError(
            f"the MLflow experiment '{name}' was deleted: restore it with `mlflow experiments "
            f"restore -x {found.experiment_id}`, or name another one in lineage.experiment"
        )
    have: dict[str, Any] = found.tags
    for key, value in wanted.items():
        if have.get(key) != value:
            client.set_experiment_tag(found.experiment_id, key, value)


def _experiment_note(project: Project) -> str:
    name = project.settings.lineage.model_name
    return (
        f"Generations of the model [{name}]({model_link(name)}). The outermost run built the "
        "original from all records; every run nested in it forgot one more batch of deletion "
        "requests. A run's *model input* is the parent it started from, its *model output* the "
        "generation it made, and the artifact `lineage.html` draws the family tree up to it. The "
        "view *Lineage* lists all generations in order.\n\n"
        "Nothing here names a record or a person: batches appear as counts and digests."
    )
