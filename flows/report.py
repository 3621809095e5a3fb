"""Report flow: one page and one table over all generations."""

from prefect import flow, task

from forgetflow.config.project import Project
from forgetflow.evaluation.report import write_report


@flow(name="report")
def report() -> None:
    """Write `report/`."""
    write_task()


@task(name="write report")
def write_task() -> None:
    """Read models and evaluations, write page and tables."""
    write_report(Project.find())
