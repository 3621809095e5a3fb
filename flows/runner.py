"""Which task runner `run.runner` means: threads of this process, or a Dask cluster."""

from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.devices import slots
from forgetflow.config.project import Project
from forgetflow.errors import InputError


def task_runner() -> TaskRunner[Any]:
    """Return the task runner of the project around the current folder."""
    try:
        project = Project.find()
    except InputError:  # imported outside a project, e.g. to list deployments
        return ThreadPoolTaskRunner(max_workers=1)
    workers = slots(project)
    if project.settings.run.runner == "local":
        return ThreadPoolTaskRunner(max_workers=workers)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ModuleNotFoundError:
        raise InputError(
            "run.runner is dask but prefect-dask is not installed: pip install 'forgetflow[dask]'"
        ) from None
    return DaskTaskRunner(
        cluster_kwargs={
            "n_workers": workers,
            "threads_per_worker": 1,
            "dashboard_address": None,
            "silence_logs": "ERROR",
        }
    )
