"""What deletions make ARCANE train again, counted without training.

A deletion restarts a class's model from the first block that loses a record, or, where the
selection is made again, gains one. Who is selected is asked of `partition.selection` itself, one
class at a time; samples are asked of the trainer.

Notation: D draws of K requests, C classes, B blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forgetflow.config.partition import SelectionSettings
from forgetflow.keys.digests import keyed_hash, keyed_hashes
from forgetflow.partition.assignment import Assignment
from forgetflow.partition.selection import Selection
from forgetflow.partition.slices import slice_numbers
from forgetflow.records.record_set import RecordSet
from forgetflow.studies.draws import Draws, Floats, Ints, Kind, Leavers, chances, drawn
from forgetflow.training.recipe import Recipe
from forgetflow.training.work import slice_samples
from forgetflow.training.workspace import Mask

Asked = Literal["uniform", "class", "subject"]
ASKED: tuple[Asked, ...] = ("uniform", "class", "subject")

Order = Literal["ascending", "hash", "descending"]
ORDERS: tuple[Order, ...] = ("ascending", "hash", "descending")


@dataclass
class Spent:
    """What D draws of deletions train again, each number of blocks for itself.

    Attributes:
        samples: records passed through training, (D,).
        full: the same for all models from nothing, on everybody who is left, (D,).
        full_selected: the same on the selected of them, (D,).
    """

    samples: Floats
    full: Floats
    full_selected: Floats


@dataclass
class _Class:
    """One class while its records leave."""

    where: Ints
    selection: Selection | None
    frozen: Mask | None
    keep: Mask = field(init=False)
    selected: Mask = field(init=False)

    def start(self) -> None:
        """Let everybody be there again."""
        self.keep = np.ones(len(self.where), bool)
        self.selected = self._select()

    def lose(self, positions: Ints) -> tuple[Mask, Mask]:
        """Remove records; returns who is selected now, and who was only before or only is now."""
        before = self.selected
        self.keep[np.searchsorted(self.where, positions)] = False
        self.selected = self._select()
        return self.selected, before ^ self.selected

    def _select(self) -> Mask:
        if self.frozen is not None:
            return self.keep & self.frozen
        return self.keep.copy() if self.selection is None else self.selection.of(self.keep)


class Counter:
    """Counts deletions for one selection, several numbers of blocks and several heads.

    Args:
        records: the training set.
        selection: who is learned from.
    """

    def __init__(self, records: RecordSet, selection: SelectionSettings) -> None:
        self.labels = records.labels
        self.classes: dict[int, _Class] = {}
        for label in np.unique(self.labels).tolist():
            where = np.flatnonzero(self.labels == label)
            made = None
            if selection.mode != "none":
                made = Selection(records.take(where), selection)
            # Where a choice does not depend on others it is looked up, not made again.
            fixed = made is not None and (selection.mode == "threshold" or selection.frozen)
            frozen = made.of(np.ones(len(where), bool)) if made and fixed else None
            self.classes[label] = _Class(where, made, frozen)
        self._anew: dict[tuple[str, int], int] = {}

    def count(
        self,
        placed: Mapping[int, Assignment],
        recipes: Mapping[str, Recipe],
        draws: Draws,
        *,
        together: bool,
    ) -> tuple[dict[tuple[str, int], Spent], Floats]:
        """Count what D deletions train again.

        Args:
            placed: number of blocks -> placement.
            recipes: head -> how it is trained; one recipe per head in all calls.
            draws: who leaves.
            together: serve all requests of a draw at once, not one after another.

        Returns:
            (head, number of blocks) -> what is trained; and the share of servings that train
            nothing, of each draw, (D,).
        """
        found = {
            (head, blocks): Spent(*(np.zeros(draws.count) for _ in range(3)))
            for head in recipes
            for blocks in placed
        }
        idle, served = np.zeros(draws.count), np.zeros(draws.count)
        for one in self.classes.values():
            one.start()
        fresh = {c: (one.keep, one.selected) for c, one in self.classes.items()}
        for number, servings in _by_draw(draws, together=together):
            for c, one in self.classes.items():
                one.keep, one.selected = fresh[c][0].copy(), fresh[c][1]
            for leaving in servings:
                served[number] += 1
                idle[number] += not self._serve(found, placed, recipes, number, leaving)
        return found, idle / np.maximum(served, 1)

    def _serve(
        self,
        found: Mapping[tuple[str, int], Spent],
        placed: Mapping[int, Assignment],
        recipes: Mapping[str, Recipe],
        number: int,
        leaving: Ints,
    ) -> bool:
        """Remove records together, add what that costs, and return whether it costs anything."""
        changed = False
        labels = self.labels[leaving]
        for label in np.unique(labels).tolist():
            one = self.classes[label]
            selected, moved = one.lose(np.sort(leaving[labels == label]))
            if not moved.any():
                continue
            changed = True
            if not selected.any():  # the class is gone, and its model with it
                continue
            for blocks, assignment in placed.items():
                block = assignment.slice[one.where]
                first = int(block[moved].min())
                sizes = np.bincount(block[selected], minlength=blocks).tolist()
                for head, recipe in recipes.items():
                    spent = sum(slice_samples(recipe, sizes)[first:])
                    found[head, blocks].samples[number] += spent
        for head, recipe in recipes.items():
            everybody = sum(self._whole(head, recipe, one.keep) for one in self.classes.values())
            selected_only = sum(
                self._whole(head, recipe, one.selected) for one in self.classes.values()
            )
            for blocks in placed:
                found[head, blocks].full[number] += everybody
                found[head, blocks].full_selected[number] += selected_only
        return changed

    def _whole(self, head: str, recipe: Recipe, who: Mask) -> int:
        """Return what training a model of these records from nothing takes, without blocks."""
        place = head, int(np.count_nonzero(who))
        if place not in self._anew:
            self._anew[place] = slice_samples(recipe, [place[1]])[0]
        return self._anew[place]


def _by_draw(draws: Draws, *, together: bool) -> Iterator[tuple[int, list[Ints]]]:
    """Yield each draw's number and the records that each serving removes."""
    edges = np.searchsorted(draws.draw, np.arange(draws.count + 1))
    for number in range(draws.count):
        own = slice(edges[number], edges[number + 1])
        records, request = draws.record[own], draws.request[own]
        if together or not len(records):
            yield number, [records] if len(records) else []
        else:
            order = np.argsort(request, kind="stable")
            cuts = np.flatnonzero(np.diff(request[order])) + 1
            yield number, list(np.split(records[order], cuts))


def requested(
    asked: Asked, records: RecordSet, requests: int, count: int, seed: int
) -> Draws | None:
    """Return `count` draws of K requests; None where K subjects would be everybody.

    Raises:
        InputError: no class has that many records.
    """
    if asked != "subject":
        kind: Kind = asked
        return drawn(kind, records, requests, count, seed)
    ids, subject = np.unique(np.array(records.subject_ids, str), return_inverse=True)
    if requests >= len(ids):
        return None
    rng = np.random.default_rng(keyed_hash(seed, "study draws", asked, requests))
    draw, request, record = [], [], []
    for number in range(count):
        turn = np.full(len(ids), -1)
        turn[rng.permutation(len(ids))[:requests]] = np.arange(requests)
        where = np.flatnonzero(turn[subject] >= 0)
        draw.append(np.full(len(where), number))
        request.append(turn[subject[where]])
        record.append(where)
    return Draws(count, requests, *(np.concatenate(part) for part in (draw, request, record)))


def priors_of(records: RecordSet, seed: int) -> tuple[Floats, str]:
    """Return the deletion prior of every record, (N,), and where it comes from.

    Without any in the records, each subject has 10^(2u - 3), between 0.001 and 0.1, with u a hash
    of the subject.
    """
    priors = np.nan_to_num(records.priors, nan=0.0)
    if (priors > 0).any():
        return priors, "the records' deletion priors"
    drawn_by = keyed_hashes(seed, "study prior", records.subject_ids) / 2.0**64
    return 10 ** (2 * drawn_by - 3), "synthetic: 10^(2u - 3), u a hash of the subject"


def bounds_of(priors: Floats, declared: Sequence[float], blocks: int, *, synthetic: bool) -> Floats:
    """Return B - 1 ascending bounds: of the law of synthetic priors, or `declared`, or quantiles.

    Quantiles of today's records stand in for bounds that a person would fix in advance.
    """
    inner = np.arange(1, blocks) / blocks
    if synthetic:
        return 10 ** (2 * inner - 3)
    if declared and len(declared) < blocks:
        return np.array(declared, float)
    return np.unique(np.quantile(priors, inner))


def sorted_blocks(
    records: RecordSet, priors: Floats, bounds: Floats, order: Order, blocks: int, seed: int
) -> Assignment:
    """Return a class and block of every record, with the likeliest to leave last, or first."""
    pick: NDArray[np.uint64] = keyed_hashes(seed, "slice", records.subject_ids)
    thresholds: list[float] = [] if order == "hash" else bounds.tolist()
    block = slice_numbers(priors, pick, thresholds, blocks)
    if order == "descending":
        block = blocks - 1 - block
    classes = len(records.schema.class_names)
    return Assignment(classes, blocks, records.labels.astype(np.int64), block)


def leavers(records: RecordSet, priors: Floats, requests: int) -> Leavers:
    """Return the law under which subjects leave with chances in proportion to their priors.

    Raises:
        InputError: fewer subjects have a prior above 0.
    """
    ids, subject = np.unique(np.array(records.subject_ids, str), return_inverse=True)
    weights = np.zeros(len(ids))
    np.maximum.at(weights, subject, priors)
    return Leavers(records.subject_ids, chances(weights, requests))
