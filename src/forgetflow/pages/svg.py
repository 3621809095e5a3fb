"""One drawing by matplotlib as inline SVG, in the colours and fonts of the style sheet.

Text stays text, and colours are stand-ins for variables of the style sheet, so that charts follow
its light and dark mode. Same data, same bytes: nothing of a clock or of the machine gets in.

matplotlib is imported when the first chart is drawn, without pyplot, so that nothing else waits
for it.
"""

import re
from collections.abc import Callable
from html import escape
from io import StringIO
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    "ink", "soft", "line", "card", "track", "model", "fill", "oracle", "floor", "green", "violet",
    "red",
)  # fmt: skip
"""Variables of the style sheet."""
INK, SOFT, RULE, CARD, TRACK, MODEL, FILL, ORACLE, FLOOR, GREEN, VIOLET, RED = (
    f"#0000{number:02x}" for number in range(1, len(COLOURS) + 1)
)

SIZE, SMALL = 12.0, 11.0
"""Heights of text, px."""

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": RULE,
    "axes.grid.axis": "y",
    "axes.labelcolor": SOFT,
    "axes.labelsize": SMALL,
    "axes.linewidth": 1.0,
    "font.size": SIZE,
    "grid.color": RULE,
    "grid.linewidth": 1.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
}
_ALONE = Lock()  # matplotlib's settings are the whole process's


class Frame(NamedTuple):
    """Size of a chart and the room around its axes, px."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


def draw(label: str, frame: Frame, paint: Callable[["Axes"], None]) -> str:
    """Return what `paint` draws on axes without ticks and frame, as an SVG element.

    Args:
        label: what the drawing shows, for those who do not see it; of its own on a page.
        frame: size and margins.
        paint: draws; coordinates in px count from the lower left.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    width, height, left, right, top, bottom = frame
    # A matplotlibrc of the user's must not show; the backend is not looked up by name here.
    settings: dict[Any, Any] = dict(mpl.rcParamsDefault) | _STYLE | {"svg.hashsalt": label}
    settings.pop("backend")
    out = StringIO()
    with _ALONE, mpl.rc_context(settings):
        sheet = Figure(figsize=(width / 72, height / 72), dpi=72, frameon=False)
        across, up = (width - left - right) / width, (height - top - bottom) / height
        axes = sheet.add_axes((left / width, bottom / height, across, up), frameon=False)
        axes.grid(visible=True, axis="y")
        axes.tick_params(length=0, left=False, bottom=False, top=False, pad=6)
        axes.xaxis.set_label_coords(0.5, -30 / (height - top - bottom))
        axes.xaxis.label.set_verticalalignment("baseline")
        paint(axes)
        for artist in sheet.findobj():
            artist.set_clip_on(False)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        sheet.savefig(out, format="svg", metadata=nothing)
    body = _tidy(out.getvalue())
    head = f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{1.25 * width:g}px"'
    return f'{head} role="img" aria-label="{escape(label)}">{body}</svg>'


def _tidy(svg: str) -> str:
    """Return what is inside the root, without groups, fonts and needless digits, in variables."""
    inner = svg[svg.index("</defs>") + len("</defs>") : svg.rindex("</svg>")]
    inner = re.sub(r"\s*\n\s*", " ", re.sub(r"</?g[^>]*>", "", inner))
    return re.sub(r">\s+<", "><", re.sub(r"<[^>]+>", lambda tag: _tidy_tag(tag[0]), inner)).strip()


def _tidy_tag(tag: str) -> str:
    tag = re.sub(r" ?font-family: [^;\"]*;?| transform=\"rotate\(-0 [^\"]*\"", "", tag)
    tag = re.sub(r"#0000([0-9a-f]{2})", lambda c: f"var(--{COLOURS[int(c[1], 16) - 1]})", tag)
    return re.sub(r"(\.\d)\d+", r"\1", tag).replace("xlink:href", "href")
