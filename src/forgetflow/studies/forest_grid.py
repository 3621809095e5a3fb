"""What the study of forests compares: random layers, seeds, and who is deleted."""

from collections import Counter
from dataclasses import dataclass

from forgetflow.errors import InputError
from forgetflow.models.forest import library
from forgetflow.studies.grid import make_distinct, require_at_least
from forgetflow.studies.protocol import StudyData


@dataclass(frozen=True)
class ForestGrid:
    """How many forests are fit, and what is deleted from each of them.

    Attributes:
        depths: values of `random_depth`, the layers whose splits ignore labels.
        seeds: forests of every depth.
        singles: records deleted one by one.
        rounds: deletions by the adversary.
        candidates: records drawn for the adversary in every round, who takes the costliest.
        batches: numbers of records that are deleted together.
        subjects: subjects deleted one by one, each with all records.
    """

    depths: tuple[int, ...]
    seeds: int
    singles: int
    rounds: int
    candidates: int
    batches: tuple[int, ...]
    subjects: int

    def __post_init__(self) -> None:
        """Let depths and sizes of batches be distinct and ascending.

        Raises:
            InputError: a value is missing or below its minimum.
        """
        make_distinct(self, "depths", least=0)
        if self.batches and min(self.batches) < 2:
            raise InputError("--batches takes numbers from 2, e.g. 10,100, or nothing for none")
        object.__setattr__(self, "batches", tuple(sorted(set(self.batches))))
        require_at_least(1, self, "seeds", "singles", "rounds", "candidates")
        require_at_least(0, self, "subjects")

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Every (random depth, seed number)."""
        return [(depth, number) for depth in self.depths for number in range(self.seeds)]

    def check(self, data: StudyData) -> None:
        """Refuse what these settings and records cannot fill.

        Raises:
            InputError: numba is not installed, a depth is beyond the trees', there is nothing to
                test on, or the deletions leave less than half of the records.
        """
        library()
        settings, records = data.settings.model.forest, data.records
        if settings.max_depth < 1:
            raise InputError("model.forest.max_depth 0 leaves no splits to study: set 1 or more")
        if max(self.depths) > settings.max_depth:
            raise InputError(
                f"--depths {max(self.depths)} is more than the {settings.max_depth} layers of "
                "model.forest.max_depth: ask for fewer"
            )
        if not len(data.test):
            raise InputError(
                "there are no test records to measure accuracy on: set data.test_fraction above 0 "
                "and import the data again"
            )
        sizes = sorted(Counter(records.subject_ids).values())
        if self.subjects >= len(sizes):
            raise InputError(
                f"--subjects {self.subjects} are not fewer than the {len(sizes)} subjects of the "
                "training set: ask for fewer, or 0 for none"
            )
        people = sum(sizes[len(sizes) - self.subjects :])
        leaving = self.singles + self.rounds + sum(self.batches) + people
        if leaving > len(records) / 2:
            raise InputError(
                f"these deletions take up to {leaving} of {len(records)} records, and at least "
                "half of them must stay: ask for smaller --singles, --batches or --subjects"
            )
