"""Build flows: from a data source to the original model, its attributions and its evaluation.

Each is one DVC stage; `build` chains them for a run without DVC.
"""

from typing import Any

from prefect import flow, task

from flows import inputs
from flows.devices import device_slot, open_slots
from flows.evaluate import evaluate
from flows.outputs import holds, write_receipt
from flows.runner import task_runner
from flows.tasks import CACHED, train_all
from forgetflow.attribution.attribute import attribute as attribute_scores
from forgetflow.attribution.attribute import code as attribution_code
from forgetflow.attribution.scores import write_scores
from forgetflow.config.project import Project
from forgetflow.files.jsonable import to_json
from forgetflow.keys.digests import bytes_digest, digest_of
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import code as placement_code
from forgetflow.partition.registry import place
from forgetflow.records.ingest import ingest as ingest_records
from forgetflow.records.record_set import read_record_set
from forgetflow.requests.batches import ORIGINAL
from forgetflow.training.card import card_digest, read_card, write_model
from forgetflow.training.ensemble import Ensemble


@flow(name="ingest")
def ingest() -> dict[str, Any]:
    """Read the data source into `data/train` and `data/test`."""
    return ingest_task()


@flow(name="partition")
def partition() -> dict[str, Any]:
    """Place every record into a shard and a slice."""
    project = Project.find()
    open_slots(project)
    settings, records = project.settings, read_record_set(project.train)
    key = digest_of(
        {
            "records": records.digest,
            "priors": bytes_digest(records.priors.tobytes()),  # not part of a record's digest
            "partition": settings.partition.model_dump(mode="json"),
            "seed": settings.run.seed,
            "code": placement_code(settings.partition.method),
        }
    )
    fresh = not holds(project.partition, key)
    return partition_task.with_options(refresh_cache=fresh)(key=key)


@flow(name="train", task_runner=task_runner())
def train() -> str:
    """Train the original model, shard by shard, and evaluate it; returns its weights digest."""
    project = Project.find()
    open_slots(project)
    receipts = train_all(project)
    space = inputs.workspace(project)
    keep = space.everything
    members = [space.constituent(shard, receipt, keep) for shard, receipt in receipts.items()]
    card = space.card(ORIGINAL, members, keep)
    write_model(space.store, card, project.model(ORIGINAL))
    evaluate(ORIGINAL)
    return card.digest


@flow(name="attribute", flow_run_name="attribute {generation}")
def attribute(generation: str = ORIGINAL) -> dict[str, Any]:
    """Score how the records a generation learned from move its margins on test records."""
    project = Project.find()
    open_slots(project)
    settings, engine = project.settings.attribution, project.settings.attribution_method
    card = read_card(project.model(generation))
    key = digest_of(
        {
            "model": card_digest(card),
            "train": card.retain_digest,
            "test": read_record_set(project.test).digest,
            "attribution": settings.model_dump(mode="json"),
            "engine": engine,
            "code": attribution_code(engine),
        }
    )
    fresh = not holds(project.attribution(generation), key)
    return attribute_task.with_options(refresh_cache=fresh)(key=key, generation=generation)


@flow(name="build")
def build() -> str:
    """Run all steps of the original model; returns its weights digest."""
    ingest()
    partition()
    digest = train()
    attribute()
    return digest


@task(name="read source")
def ingest_task() -> dict[str, Any]:
    """Read, check and write the records."""
    return ingest_records(Project.find())


@task(name="place records", **CACHED)
def partition_task(key: str) -> dict[str, Any]:
    """Write `data/partition`; the result holds counts only."""
    project = Project.find()
    records = read_record_set(project.train)
    records.check_digests()
    settings = project.settings
    with device_slot(project):
        assignment = place(records, settings.partition, settings.run.seed)
    write_assignment(records, assignment, project.partition / "assignment.parquet")
    write_receipt(project.partition, key)
    return assignment.summary()


@task(name="attribute", task_run_name="attribute {generation}", **CACHED)
def attribute_task(key: str, generation: str) -> dict[str, Any]:
    """Write `attribution/<generation>`; the result holds aggregates only."""
    project = Project.find()
    space = inputs.workspace(project)
    folder = project.attribution(generation)
    first = generation == ORIGINAL
    with device_slot(project):
        scores = attribute_scores(
            space,
            Ensemble.load(project.model(generation), space.recipe.device),
            space.everything if first else inputs.deletion(project, generation).retain,
            read_record_set(project.test),
            project.settings.attribution,
        )
    write_scores(scores, folder)
    write_receipt(folder, key)
    return to_json(scores.summary)
