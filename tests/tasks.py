"""What Prefect's database says about the tasks of a project among others."""

import json
import sqlite3
from pathlib import Path


def task_states(prefect_home: Path, project, batch: str) -> list[str]:
    """States of the tasks in the project's latest flow run that unlearned a batch.

    Other projects unlearn batches of that name on the same server, under other keys.
    """
    card = json.loads((project.root / "models" / batch / "model.json").read_text())
    result = prefect_home / "storage" / card["constituents"][0]["key"]
    query = """
        select task_run.state_name from task_run
        where flow_run_id = (
            select task_run.flow_run_id from task_run
            join flow_run on flow_run.id = task_run.flow_run_id
            join task_run_state on task_run_state.id = task_run.state_id
            where flow_run.name = ? and json_extract(data, '$.storage_key') = ?
            order by flow_run.created desc limit 1)
    """
    with sqlite3.connect(prefect_home / "prefect.db") as database:
        return [row[0] for row in database.execute(query, [f"unlearn {batch}", str(result)])]


def task_states_of_flow(prefect_home: Path, flow: str) -> dict[str, str]:
    """Task name -> state in the latest run of a flow."""
    query = """
        select task_run.name, task_run.state_name from task_run
        join flow_run on flow_run.id = flow_run_id
        where flow_run.id = (
            select flow_run.id from flow_run join flow on flow.id = flow_id
            where flow.name = ? order by flow_run.created desc limit 1)
    """
    with sqlite3.connect(prefect_home / "prefect.db") as database:
        return dict(database.execute(query, (flow,)).fetchall())
