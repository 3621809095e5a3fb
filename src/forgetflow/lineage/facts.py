"""What a generation tells MLflow: counts, digests and measures, and the tags made of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # showing a tree should not wait for torch
    from forgetflow.training.card import ModelCard

Gate = Literal["passed", "failed", "not checked"]

ACCURACY = "test_accuracy"
"""The measure that trees and tables show for every generation, a fraction of 1."""

COST = "cost."
"""Prefix of what a generation cost, among the metrics of its run."""


@dataclass(frozen=True)
class DeletionFacts:
    """The batch that made a generation, without anybody in it.

    Attributes:
        batch: batch id.
        records: number of records forgotten by this batch.
        requests: number of deletion requests in it.
        manifest: digest of the sealed manifest.
        sealed_at: when it was sealed, ISO 8601.
        due_at: when the earliest of its requests is due, ISO 8601; None when nothing is.
    """

    batch: str
    records: int
    requests: int
    manifest: str
    sealed_at: str
    due_at: str | None = None


@dataclass(frozen=True)
class GenerationFacts:
    """Everything that is registered about one generation.

    Attributes:
        card: what the model is.
        model_folder: its files, as `training.ensemble.write_model` leaves them.
        metrics: measures by name, numbers only; `test_accuracy` is shown everywhere.
        evaluation_folder: files logged with the run as `evaluation/`; may be missing.
        audit_folder: files logged with the run as `audit/`; may be missing.
        deletion: the batch; None for an original.
        gate: whether the measures held the bounds of `params.yaml`.
        state: how far the deletion has come.
        cost: what it took, numbers by name (`seconds`, ...).
        report: the evaluation report, logged with the run.
        certificate_sha256: digest of the certificate, once there is one.
    """

    card: "ModelCard"
    model_folder: Path
    metrics: Mapping[str, float]
    evaluation_folder: Path | None = None
    audit_folder: Path | None = None
    deletion: DeletionFacts | None = None
    gate: Gate = "not checked"
    state: str = "unlearned"
    cost: Mapping[str, float] = field(default_factory=dict)
    report: Path | None = None
    certificate_sha256: str | None = None

    @property
    def digest(self) -> str:
        """Digest of the card: what makes two registrations the same."""
        from forgetflow.training.card import card_digest

        return card_digest(self.card)

    def fixed_tags(self) -> dict[str, str]:
        """Return the tags that follow from the card and the batch, and never change."""
        card = self.card
        tags = {
            "lineage.generation": card.generation,
            "lineage.card": self.digest,
            "lineage.records": str(card.records),
            "lineage.forgotten": str(card.forgotten),
            "unlearn.method": card.method,
            "unlearn.guarantee": str(card.guarantee),
            "weights.digest": card.digest,
        }
        if card.parent is not None:
            tags["lineage.parent"] = card.parent
        if self.deletion is not None:
            deletion = self.deletion
            tags |= {
                "deletion.batch": deletion.batch,
                "deletion.records": str(deletion.records),
                "deletion.requests": str(deletion.requests),
                "deletion.manifest": deletion.manifest,
                "deletion.sealed_at": deletion.sealed_at,
            }
            if deletion.due_at is not None:
                tags["deletion.due_at"] = deletion.due_at
        return tags

    def mutable_tags(self) -> dict[str, str]:
        """Return the tags that a later registration of the same model may change."""
        tags = {"gate": self.gate, "state": self.state}
        if self.certificate_sha256 is not None:
            tags["certificate.sha256"] = self.certificate_sha256
        return tags

    def params(self) -> dict[str, str]:
        """Return the unchanging facts that the compare view of runs shows side by side.

        MLflow refuses to change a parameter, so what can change (gate, state) stays a tag, and
        so do digests and dates, which nobody compares by eye.
        """
        left_out = ("lineage.card", "weights.digest", "deletion.manifest")
        facts = {k: v for k, v in self.fixed_tags().items() if k not in left_out}
        facts = {k: v for k, v in facts.items() if not k.endswith("_at")}
        facts["partition.constituents"] = str(len(self.card.constituents))
        facts["partition.aggregation"] = self.card.aggregation
        return facts | {f"model.{name}": text for name, text in _flat(self.card.architecture)}

    def measures(self) -> dict[str, float]:
        """Return all numbers of the run: measures, cost, and the gate as 1 or 0."""
        numbers = {name: float(value) for name, value in self.metrics.items()}
        numbers |= {f"{COST}{name}": float(value) for name, value in self.cost.items()}
        if self.gate != "not checked":
            numbers["gate_passed"] = float(self.gate == "passed")
        return numbers


def _flat(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and values of nested settings, sorted."""
    for name, value in sorted(block.items()):
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
