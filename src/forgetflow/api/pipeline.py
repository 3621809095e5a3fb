"""A project in a folder, driven from Python: the functions that the flows call, without them.

Nothing here starts a server, writes to MLflow or calls DVC. The bytes are those that `dvc repro`
and the deletion flow leave, so both can be mixed; only the flows write the ledger and register.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from forgetflow.attribution.attribute import attribute
from forgetflow.attribution.scores import Scores
from forgetflow.audit.audit import Audit
from forgetflow.audit.judge import contenders, judge, no_audit, procedures_of, train_pools
from forgetflow.config.project import Project
from forgetflow.config.settings import parse_settings
from forgetflow.errors import InputError
from forgetflow.files.atomic import write_atomically
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.pools.comparison import Comparison
from forgetflow.records.ingest import ingest
from forgetflow.records.record_set import RecordSet, read_record_set
from forgetflow.requests.batches import ORIGINAL, read_batches, set_method
from forgetflow.requests.intake import add_request
from forgetflow.requests.request import Request
from forgetflow.requests.seal import seal
from forgetflow.training.card import ModelCard, read_card
from forgetflow.training.ensemble import Ensemble
from forgetflow.training.workspace import Workspace
from forgetflow.unlearning.plan import Plan, plan_deletion
from forgetflow.unlearning.refusal import refuse_manifest
from forgetflow.unlearning.registry import method_named
from forgetflow.unlearning.runner import Deletion, build_original, unlearn
from forgetflow.unlearning.verify import Verdict, verify_generation


class Pipeline:
    """A project: build, forget, audit, verify, lineage.

    Args:
        folder: the project's, or any folder inside it; default the current one.

    Raises:
        InputError: there is no `params.yaml` in it or above.
    """

    def __init__(self, folder: str | Path = ".") -> None:
        self.project = Project.find(Path(folder))

    @classmethod
    def create(cls, folder: str | Path, **blocks: Mapping[str, Any]) -> "Pipeline":
        """Make a project in a new or empty folder.

        Args:
            folder: where.
            blocks: blocks of params.yaml that differ from the defaults, e.g.
                `partition={"shards": 5}`; without `data` the records are scikit-learn's digits.

        Raises:
            InputError: there is a project already, or a setting is unknown or impossible.
        """
        root = Path(folder)
        if (root / "params.yaml").exists():
            raise InputError(f"{root} holds a project already: open it with Pipeline({folder!r})")
        parse_settings({name: dict(block) for name, block in blocks.items()})
        root.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump({name: dict(block) for name, block in blocks.items()})
        write_atomically(root / "params.yaml", text.encode())
        return cls(root)

    @property
    def records(self) -> RecordSet:
        """The training set; reads the source on first use, `dvc repro` whenever `data` changed."""
        if not any(self.project.train.glob("*.parquet")):
            ingest(self.project)
        return read_record_set(self.project.train)

    @property
    def test(self) -> RecordSet:
        """The test set."""
        _ = self.records
        return read_record_set(self.project.test)

    def build(self) -> ModelCard:
        """Train the original model of the current settings, or find it; places the records.

        Raises:
            InputError: the source cannot be used.
        """
        settings, records = self.project.settings, self.records
        assignment = place(records, settings.partition, settings.run.seed)
        write_assignment(records, assignment, self.project.partition / "assignment.parquet")
        return build_original(self.project)

    def request(self, **fields: str) -> Request:
        """Take in a deletion request.

        Args:
            fields: one of `record`, `subject`, `label` and `where`; optionally `request_id`,
                `reason` and others of `Request`.

        Raises:
            InputError: there is no selector, or several, or it cannot be read.
        """
        return add_request(self.project, fields)[0]

    def seal(self, method: str | None = None) -> str:
        """Freeze open requests into the next batch and return its id.

        Raises:
            InputError: no open request selects a record that is left, or the batch is not for
                the method; nothing was sealed.
        """
        check = partial(refuse_manifest, self.project)
        batch = seal(self.project, method=method, check=check).batch
        if batch is None:
            raise InputError("nothing to seal: no open request selects a record that is left")
        return batch

    def plan(self, batch: str | None = None, method: str | None = None) -> Plan:
        """Say what a batch will cost, or what sealing now would freeze; writes nothing.

        Raises:
            InputError: there is no such batch, or nothing is waiting.
        """
        return plan_deletion(self.project, batch, method)

    def forget(self, batch: str, method: str | None = None) -> ModelCard:
        """Make the model of a sealed batch, or find it.

        Args:
            batch: its id.
            method: unlearning method; default the one the batch was sealed for.

        Raises:
            InputError: there is no such batch or method, or the batch is not for it.
            VerdictError: a record changed since it was sealed.
        """
        batches = read_batches(self.project)
        if batch not in batches:
            known = ", ".join(batches) or "none yet"
            raise InputError(f"no batch '{batch}'; sealed batches: {known}")
        chosen = method_named(method or batches[batch].method, self.project.settings)
        if method and method != batches[batch].method:
            set_method(self.project, batch, method)
        return unlearn(self.project, Deletion.open(self.project, batch), chosen)

    def verify(self, generation: str) -> Verdict:
        """Train a generation again from nothing and compare bytes, where it promises them.

        Raises:
            InputError: there is no such generation.
            VerdictError: a file, manifest, record or ledger entry was altered.
        """
        return verify_generation(self.project, generation)

    def audit(self, batch: str, methods: Sequence[str] = (), members: int | None = None) -> Audit:
        """Judge methods on a batch by pools of models, beside two pools of oracles and controls.

        Pools are kept: a second audit makes only what is missing.

        Args:
            batch: a sealed batch.
            methods: names of methods; default the one that the batch was forgotten with.
            members: models per contender; default `evaluate.audit.members`.

        Raises:
            InputError: there is no such batch or method, or the forget set is too small to say
                anything of.
        """
        settings = self.project.settings.evaluate.audit
        if members is not None:
            settings = settings.model_copy(update={"members": members})
        comparison = Comparison.of_batch(self.project, Workspace.open(self.project), batch)
        sizes = {
            "retain": int(comparison.retain.sum()),
            "forget": int(comparison.forget.sum()),
            "test": len(self.test),
        }
        if reason := no_audit(sizes, settings):
            raise InputError(f"{batch}: {reason}")
        chosen = methods or [read_batches(self.project)[batch].method]
        names, notes = contenders(self.project.settings, chosen)
        procedures = procedures_of(comparison, names, settings.members)
        absent = train_pools(procedures)
        made = {name: procedures[name] for name in names if name not in absent}
        return judge(comparison, made, self.test, settings, absent, notes)

    def attribute(self, generation: str = ORIGINAL) -> Scores:
        """Score how the records a generation learned from move its margins on test records.

        Raises:
            InputError: there is no such generation.
        """
        space = Workspace.open(self.project)
        model = self.model(generation)
        if generation == ORIGINAL:
            keep = space.everything
        else:
            keep = Deletion.open(self.project, generation, space).retain
        return attribute(space, model, keep, self.test, self.project.settings.attribution)

    def model(self, generation: str) -> Ensemble:
        """Return a generation that can predict.

        Raises:
            InputError: there is no such generation.
            VerdictError: its files were altered.
        """
        return Ensemble.load(self.project.model(generation))

    def lineage(self) -> list[ModelCard]:
        """Return the cards of all generations that are built, parents first."""
        names = [ORIGINAL, *read_batches(self.project)]
        folders = [self.project.model(name) for name in names]
        return [read_card(folder) for folder in folders if (folder / "model.json").is_file()]
