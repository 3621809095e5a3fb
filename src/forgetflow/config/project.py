"""Where things lie inside a project folder. Every path of the product is spelled here, once."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forgetflow.errors import InputError

if TYPE_CHECKING:  # `--help` knows projects, but should not wait for pydantic
    from forgetflow.config.settings import Settings


@dataclass(frozen=True)
class Project:
    """A project folder: the one that holds `params.yaml` and `dvc.yaml`."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> "Project":
        """Return the project that contains `start` (default: the current folder).

        Raises:
            InputError: no folder from here up holds a `params.yaml`.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "params.yaml").is_file():
                return cls(folder)
        raise InputError(f"no params.yaml in {here} or above: run this inside a project folder")

    @cached_property
    def settings(self) -> "Settings":
        """`params.yaml`, read once per `Project` object."""
        from forgetflow.config.settings import load_settings

        return load_settings(self.root / "params.yaml")

    @property
    def train(self) -> Path:
        """Training records (Parquet parts)."""
        return self.root / "data" / "train"

    @property
    def test(self) -> Path:
        """Test records (Parquet parts)."""
        return self.root / "data" / "test"

    @property
    def partition(self) -> Path:
        """The record -> (shard, slice) table."""
        return self.root / "data" / "partition"

    @property
    def requests(self) -> Path:
        """The request book: everything people asked for; holds personal data."""
        return self.root / "data" / "requests"

    @property
    def forget(self) -> Path:
        """Sealed manifests, `batches.yaml` and the ledger."""
        return self.root / "data" / "forget"

    @property
    def inbox(self) -> Path:
        """Request files dropped here are taken in by the next `seal` or deletion flow."""
        return self.root / "data" / "inbox"

    @property
    def store(self) -> Path:
        """Content-addressed checkpoints."""
        return self.root / "store"

    def model(self, generation: str) -> Path:
        """The published files of one model generation (`original` or a batch id)."""
        return self.root / "models" / generation

    def evaluation(self, generation: str) -> Path:
        """Measures of one generation."""
        return self.root / "evaluation" / generation

    def audit(self, generation: str) -> Path:
        """Judgement of the procedure that made one generation, by pools of models."""
        return self.root / "audit" / generation

    def study(self, name: str) -> Path:
        """Results of one study."""
        return self.root / "studies" / name

    def attribution(self, generation: str) -> Path:
        """Train x query scores of one generation."""
        return self.root / "attribution" / generation

    @property
    def report(self) -> Path:
        """The report over all generations."""
        return self.root / "report"

    @property
    def state(self) -> Path:
        """Local, never versioned: Prefect's home, locks, secrets."""
        return self.root / ".forgetflow"

    @property
    def locks(self) -> Path:
        """Lock files, one per thing that has one writer at a time."""
        return self.state / "locks"
