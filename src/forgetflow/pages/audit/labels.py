"""Names beside points of a figure, where they cover neither each other nor other points."""

from collections.abc import Sequence
from html import escape
from itertools import product
from typing import NamedTuple

LETTER, HEIGHT, RADIUS = 6.0, 13.0, 6.0
"""Width of a letter, height of a line, and half the width of a point, in units of the figure."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


class Point(NamedTuple):
    """A point at (x, y) and its name."""

    x: float
    y: float
    name: str


class Label(NamedTuple):
    """A name and where it stands.

    Attributes:
        point: what it names.
        left, baseline: where the text starts.
    """

    point: Point
    left: float
    baseline: float

    @property
    def box(self) -> Box:
        """Return the space it takes."""
        return (
            self.left,
            self.baseline - HEIGHT + 3,
            self.left + LETTER * len(self.point.name),
            self.baseline + 3,
        )

    def svg(self) -> str:
        """Return the text, and a line to its point if it is not right beside it."""
        left, top, right, bottom = self.box
        x, y, name = self.point
        near = min(max(x, left), right), min(max(y, top), bottom)
        line = ""
        if abs(near[0] - x) + abs(near[1] - y) > 2.5 * RADIUS:
            line = (
                f'<line class="lead-line" x1="{x:.1f}" y1="{y:.1f}" x2="{near[0]:.1f}" '
                f'y2="{near[1]:.1f}"/>'
            )
        return (
            f'{line}<text class="label" x="{self.left:.1f}" y="{self.baseline:.1f}">'
            f"{escape(name)}</text>"
        )


def place_labels(points: Sequence[Point], inside: Box, taken: Sequence[Box] = ()) -> list[Label]:
    """Return a label per point, in the order of the points.

    Each takes the free place nearest to its point; where there is none, it stays beside it.

    Args:
        points: what to name.
        inside: where labels may stand.
        taken: space that other text takes.
    """
    filled = [*taken, *((p.x - RADIUS, p.y - RADIUS, p.x + RADIUS, p.y + RADIUS) for p in points)]
    placed: dict[int, Label] = {}
    for number in sorted(range(len(points)), key=lambda n: (points[n].y, points[n].x, n)):
        choices = _choices(points[number])
        free = (c for c in choices if _within(c.box, inside) and not _any_meets(c.box, filled))
        placed[number] = next(free, choices[0])
        filled.append(placed[number].box)
    return [placed[number] for number in range(len(points))]


def _choices(point: Point) -> list[Label]:
    """Return places for a label, the nearest first."""
    width = LETTER * len(point.name)
    rows = [0.0, *(sign * step * HEIGHT for step in range(1, 14) for sign in (-1, 1))]
    columns = [10.0, -10.0 - width, -width / 2, 40.0, -40.0 - width]
    found = [
        Label(point, point.x + dx, point.y + 4 + dy)
        for dy, dx in product(rows, columns)
        if dy or dx != columns[2]  # that is on the point itself
    ]

    def far(label: Label) -> float:
        left, top, right, bottom = label.box
        across = max(left - point.x, point.x - right, 0.0)
        along = max(top - point.y, point.y - bottom, 0.0)
        return (across**2 + along**2) ** 0.5 + (0 if label.baseline == point.y + 4 else 4)

    return sorted(found, key=far)


def _within(box: Box, outer: Box) -> bool:
    return box[0] >= outer[0] and box[1] >= outer[1] and box[2] <= outer[2] and box[3] <= outer[3]


def _any_meets(box: Box, others: Sequence[Box]) -> bool:
    return any(
        box[0] < right and left < box[2] and box[1] < bottom and top < box[3]
        for left, top, right, bottom in others
    )
