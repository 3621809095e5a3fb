"""Report flow: one page and one table over all generations."""

from prefect import flow, task

from forgetflow.config.project import Project
from forgetflow.evaluation.report import read_entries, report_files
from forgetflow.files.atomic import write_folder
from forgetflow.pages.report import report_page


@flow(name="report")
def report() -> None:
    """Write `report/`."""
    write_task()


@task(name="write report")
def write_task() -> None:
    """Read models and evaluations, write page and tables."""
    project = Project.find()
    entries = read_entries(project)
    files = report_files(entries) | {"report.html": report_page(entries).encode()}
    write_folder(project.report, files.items())
