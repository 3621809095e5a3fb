"""One registered version of a model, and the family of all of them: plain data, no MLflow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

from pydantic import Field

from forgetflow.lineage.facts import ACCURACY, DeletionFacts


@dataclass(frozen=True)
class Version:
    """One registered version: a generation of the model.

    Attributes:
        number: version number in the registry; in JSON `version`, as in MLflow.
        generation: `original` or the batch id that made it.
        parent: number of the parent's version; None for an original.
        root: number of the original it descends from (its own for an original).
        supersedes: for a rebuilt original, the number of the original before it.
        method: `build` or the unlearning method.
        guarantee: exact, certified or approximate.
        gate: passed, failed or not checked.
        state: how far the deletion has come.
        records: records it learned from.
        forgotten: records removed since the original.
        card: digest of the card.
        weights: digest of the weights.
        registered_at: UTC, ISO 8601.
        deletion: the batch; None for an original.
        certificate: sha256 of the certificate, if there is one.
        run_id: MLflow run.
        metrics: measures by name.
        aliases: names that point here.
    """

    number: Annotated[int, Field(alias="version")]
    generation: str
    parent: int | None
    root: int
    supersedes: int | None
    method: str
    guarantee: str
    gate: str
    state: str
    records: int
    forgotten: int
    card: str
    weights: str
    registered_at: str
    deletion: DeletionFacts | None
    certificate: str | None
    run_id: str
    metrics: Mapping[str, float]
    aliases: tuple[str, ...]

    @property
    def accuracy(self) -> float | None:
        """Test accuracy, 0 to 1, if it was measured."""
        return self.metrics.get(ACCURACY)


@dataclass(frozen=True)
class LineageTree:
    """All versions of one registered model, by number.

    Attributes:
        model_name: registered model.
        current_root: number of the original whose line is being worked on.
        versions: the versions, ascending.
    """

    model_name: str
    current_root: int | None
    versions: tuple[Version, ...]

    @cached_property
    def by_number(self) -> dict[int, Version]:
        """Versions by number."""
        return {v.number: v for v in self.versions}

    @property
    def tops(self) -> list[Version]:
        """Versions without a parent in the registry, the current original first."""
        tops = [v for v in self.versions if v.parent not in self.by_number]
        return sorted(tops, key=lambda v: (v.root != self.current_root, -v.root, v.number))

    def parent(self, version: Version) -> Version | None:
        """Return the version this one came from, if it is still registered."""
        return None if version.parent is None else self.by_number.get(version.parent)

    def children(self, version: Version) -> list[Version]:
        """Return the versions that came from this one, ascending."""
        return self._children.get(version.number, [])

    def path(self, version: Version) -> list[Version]:
        """Return the versions from the original down to this one."""
        path = [version]
        while (above := self.parent(path[-1])) is not None:
            path.append(above)
        return path[::-1]

    def manifests(self, version: Version) -> frozenset[str]:
        """Return the digests of all manifests that this version has forgotten."""
        return frozenset(v.deletion.manifest for v in self.path(version) if v.deletion)

    def aliased(self, alias: str) -> Version | None:
        """Return the version that `alias` points at."""
        return next((v for v in self.versions if alias in v.aliases), None)

    def with_aliases(self, aliases: Mapping[str, int]) -> "LineageTree":
        """Return the tree as it looks once `aliases` point at these version numbers."""

        def names(version: Version) -> tuple[str, ...]:
            kept = [a for a in version.aliases if a not in aliases]
            return tuple(sorted([*kept, *(a for a, n in aliases.items() if n == version.number)]))

        moved = tuple(replace(v, aliases=names(v)) for v in self.versions)
        return replace(self, versions=moved)

    @cached_property
    def _children(self) -> dict[int, list[Version]]:
        children: dict[int, list[Version]] = {}
        for version in self.versions:
            if version.parent is not None:
                children.setdefault(version.parent, []).append(version)
        return children
