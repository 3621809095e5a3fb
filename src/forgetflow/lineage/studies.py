"""Studies in MLflow: one run each, found again by the digest of what it studied."""

import time
from collections.abc import Mapping
from pathlib import Path

from forgetflow.config.project import Project
from forgetflow.files.locks import locked
from forgetflow.lineage.tracking import NOTE, connect, experiment_of, refusals_told

KEY = "study.key"
"""Tag that holds the digest of a study's ingredients."""


def log_study(
    project: Project,
    name: str,
    key: str,
    note: str,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    folder: Path,
) -> str:
    """Log a study, or bring the run of the same study up to date; returns the run's id.

    Args:
        project: the project.
        name: shown name of the run.
        key: digest of everything that decides the results.
        note: description in Markdown; no personal data.
        metrics: by name.
        params: settings by name.
        folder: all of its files are logged.
    """
    from mlflow.entities import Metric, Param, RunTag

    with locked(project.locks, "lineage"), refusals_told():
        client = connect(project)
        experiment = experiment_of(client, project).experiment_id
        found = client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
        else:
            tags = {KEY: key, "kind": "study"}
            run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        now = int(time.time() * 1000)
        client.log_batch(
            run_id,
            metrics=[Metric(path, value, now, 0) for path, value in metrics.items()],
            params=[Param(path, value) for path, value in params.items()],
            tags=[RunTag(NOTE, note)],
        )
        client.log_artifacts(run_id, str(folder))
        client.set_terminated(run_id)
        return str(run_id)
