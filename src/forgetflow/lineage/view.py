"""Addresses inside MLflow's UI, and the view of the runs that they open.

MLflow 3.17 decides by the address, not by the experiment's tag, whether it shows the pages for
model training or those for agents; so every link says it. A saved view is an experiment tag that
its "Views" menu lists; ours shows all generations in order, with the columns that tell them
apart. The tag's layout is the UI's own and undocumented: an MLflow that does not know it shows
its default view.
"""

import json
from urllib.parse import quote

TRAINING = "workflowType=machine_learning"
"""Query that opens the model-training pages."""

VIEW = "lineage"
"""Key of the saved view of runs."""

VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""Experiment tag that holds the saved view."""

VERSION = "lineage.version"
"""Metric that repeats the version number, because the UI folds runs away unless it sorts by one."""

COLUMNS = (
    f"metrics.`{VERSION}`",
    "metrics.`test_accuracy`",
    "params.`lineage.parent`",
    "params.`unlearn.method`",
    "params.`unlearn.guarantee`",
    "params.`deletion.records`",
    "params.`lineage.records`",
    "tags.`gate`",
    "tags.`state`",
)
"""Columns of the saved view, after the name of the run."""


def model_link(name: str, version: int | None = None) -> str:
    """Return the address of a registered model or version, relative to the UI's own."""
    page = f"#/models/{quote(name, safe='')}"
    return f"{page}?{TRAINING}" if version is None else f"{page}/versions/{version}?{TRAINING}"


def run_link(experiment_id: str, run_id: str) -> str:
    """Return the address of a run, relative to the UI's own."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{TRAINING}"


def artifact_link(experiment_id: str, run_id: str, path: str) -> str:
    """Return the address of a file of a run, relative to the UI's own."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(path)}?{TRAINING}"


def experiment_link(experiment_id: str) -> str:
    """Return the address of all runs in the saved view, relative to the UI's own."""
    return f"#/experiments/{experiment_id}/runs?{TRAINING}&viewStateShareKey={VIEW}"


def saved_view() -> str:
    """Return the value of `VIEW_TAG`."""
    state = {
        "searchFilter": "",
        "orderByKey": f"metrics.`{VERSION}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(COLUMNS),
    }
    return json.dumps(
        {"name": "Lineage", "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    )
