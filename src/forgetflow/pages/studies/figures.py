"""Line charts and a scatter of a study as inline SVG, in the colours of the page's style sheet.

Every line carries its name at its end; the numbers stand in the tables below the figures.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

Points = Sequence[tuple[float, float]]
Writer = Callable[[float], str]

WIDTH, LEFT, RIGHT, TOP, GROUND = 352, 50, 282, 46, 214
LETTER = 6.6
"""Width of a letter of a line's name, about."""
HAIR = 1.02
"""An axis may end this much short of a value: 0.99 needs no axis down to 0.1."""
SERIES = 6
"""Lines with a colour of their own; more repeat them."""

STYLE = """
:root {
  --s0: #2f6fa3; --s1: #b85c00; --s2: #1b6e45; --s3: #8a3b8f; --s4: #596573; --s5: #a8231c;
}
@media (prefers-color-scheme: dark) { :root {
  --s0: #74b3e3; --s1: #f2a65a; --s2: #7fd6a6; --s3: #d79be0; --s4: #a0abb8; --s5: #ff9d94;
} }
.scroll td:first-child { white-space: nowrap; }
svg .line { fill: none; stroke-width: 2; }
svg .same { stroke: var(--soft); stroke-dasharray: 4 4; fill: none; }
svg .out { fill: var(--failed); }
svg circle.point { fill: var(--s0); opacity: 0.6; }
""" + "".join(
    f"svg .s{n} {{ stroke: var(--s{n}); }} svg circle.s{n} {{ fill: var(--s{n}); }} "
    f"svg text.s{n} {{ fill: var(--s{n}); stroke: none; }}\n"
    for n in range(SERIES)
)


def line_chart(
    title: str,
    beside: str,
    lines: Mapping[str, Points],
    *,
    x_name: str,
    write: Writer,
    logarithmic: bool = False,
    x_logarithmic: bool = True,
    base: float | None = None,
) -> str:
    """Return lines over x.

    Args:
        title: what y is.
        beside: second line of the title.
        lines: name -> points, with x > 0 where it is spaced by its logarithm.
        x_name: what x is.
        write: writes a value of y.
        logarithmic: space y by its logarithm.
        x_logarithmic: space x by its logarithm.
        base: value of y to mark by a dashed line.
    """
    drawn = {name: sorted(points) for name, points in lines.items() if points}
    if not drawn:
        return ""
    xs = sorted({x for points in drawn.values() for x, _ in points})
    ys = [y for points in drawn.values() for _, y in points] + ([] if base is None else [base])
    ticks = _log_ticks(min(ys), max(ys)) if logarithmic else _ticks(min(ys), max(ys))
    across = _place(xs[0], xs[-1], LEFT + 6, RIGHT - 6, logarithmic=x_logarithmic)
    up = _place(ticks[0], ticks[-1], GROUND, TOP, logarithmic=logarithmic)
    parts = [
        f'<text class="bold" x="0" y="16">{escape(title)}</text>',
        f'<text class="soft small" x="0" y="32">{escape(beside)}</text>',
        *(_level(up(tick), write(tick)) for tick in ticks),
        *(
            f'<text class="soft small" x="{across(x):.1f}" y="{GROUND + 17}" '
            f'text-anchor="middle">{x:g}</text>'
            for x in xs
        ),
        f'<text class="soft small" x="{LEFT}" y="{GROUND + 34}">{escape(x_name)}</text>',
    ]
    if base is not None:
        y = up(base)
        parts.append(f'<path class="same" d="M{LEFT} {y:.1f}L{RIGHT} {y:.1f}"/>')
    ends = []
    for number, (name, points) in enumerate(drawn.items()):
        kind = f"s{number % SERIES}"
        places = [(across(x), up(y)) for x, y in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(f'<path class="line {kind}" d="M{path}"/>')
        parts += [f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places]
        ends.append((places[-1][1], kind, name))
    parts += _labels(ends)
    width = max(WIDTH, RIGHT + 8 + ceil(LETTER * max(map(len, drawn))))
    return _svg(width, GROUND + 42, f"{title}, {beside}", parts)


def scatter(
    title: str, beside: str, points: Points, out: Points, *, x_name: str, write: Writer
) -> str:
    """Return points against the diagonal, both axes logarithmic; those `out` are marked."""
    both = [*points, *out]
    values = [value for pair in both for value in pair if value > 0]
    if not values:
        return ""
    ticks = _log_ticks(min(values), max(values))
    right, top, ground = 420, 46, 330
    across = _place(ticks[0], ticks[-1], LEFT + 6, right, logarithmic=True)
    up = _place(ticks[0], ticks[-1], ground, top, logarithmic=True)
    parts = [
        f'<text class="bold" x="0" y="16">{escape(title)}</text>',
        f'<text class="soft small" x="0" y="32">{escape(beside)}</text>',
        *(_level(up(tick), write(tick), right) for tick in ticks),
        *(
            f'<text class="soft small" x="{across(tick):.1f}" y="{ground + 17}" '
            f'text-anchor="middle">{escape(write(tick))}</text>'
            for tick in ticks
        ),
        f'<text class="soft small" x="{LEFT}" y="{ground + 34}">{escape(x_name)}</text>',
        f'<path class="same" d="M{across(ticks[0]):.1f} {ground}L{right} {top}"/>',
    ]
    for kind, chosen in (("point", points), ("out", out)):
        parts += [
            f'<circle class="{kind}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5"/>'
            for x, y in chosen
            if x > 0 and y > 0
        ]
    return _svg(right + 30, ground + 42, title, parts)


def _place(
    low: float, high: float, start: float, end: float, *, logarithmic: bool
) -> Callable[[float], float]:
    """Return where a value stands between two places."""
    first, last = (log10(low), log10(high)) if logarithmic else (low, high)
    span = last - first

    def at(value: float) -> float:
        part = ((log10(value) if logarithmic else value) - first) / span if span else 0.5
        return start + (end - start) * part

    return at


def _ticks(low: float, high: float) -> list[float]:
    """Return round values that hold both ends."""
    rough = max(high - low, 1e-9) / 4
    size = 10.0 ** floor(log10(rough))
    step = next(size * one for one in (1, 2, 2.5, 5, 10) if size * one >= rough)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten that hold both ends; powers alone over many decades."""
    first, last = floor(log10(low * HAIR)), ceil(log10(high / HAIR))
    steps = (1,) if last - first > 2 else (1, 2, 5)
    found = [float(f"{s}e{p}") for p in range(first, last + 1) for s in steps]
    start = max((i for i, tick in enumerate(found) if tick <= low * HAIR), default=0)
    stop = next((i for i, tick in enumerate(found) if tick >= high / HAIR), len(found) - 1)
    return found[start : max(stop, start + 1) + 1]


def _labels(ends: Sequence[tuple[float, str, str]]) -> list[str]:
    """Return the names of lines beside their ends, moved apart where they would meet."""
    placed: list[float] = []
    for y, _, _ in sorted(ends):
        placed.append(max(y, placed[-1] + 13) if placed else y)
    over = max(0.0, placed[-1] - GROUND) if placed else 0.0
    for number in range(len(placed) - 1, -1, -1):  # push back up what fell below the axis
        below = placed[number + 1] - 13 if number + 1 < len(placed) else placed[number] - over
        placed[number] = min(placed[number], below)
    return [
        f'<text class="small {kind}" x="{RIGHT + 4}" y="{y + 4:.1f}">{escape(name)}</text>'
        for y, (_, kind, name) in zip(placed, sorted(ends), strict=True)
    ]


def _level(y: float, text: str, right: float = RIGHT) -> str:
    return (
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="soft small" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
        f"{escape(text)}</text>"
    )


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
