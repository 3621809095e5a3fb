"""Charts: the numbers are in them, bytes repeat, and nothing of the machine gets in."""

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetflow.pages import charts, svg
from forgetflow.pages.axes import Dot, apart, log_ticks, ticks_of
from forgetflow.pages.charts import Bar, Chart
from forgetflow.pages.numbers import NBSP

PERCENT = "{:.0%}".format
DRAWINGS = {
    "bars": lambda: charts.bars(
        "t", [Bar("b1", 0.25, "25 %", "1 of 4", target=0.5), Bar("b2", None, missing="not run")]
    ),
    "histogram": lambda: charts.histogram(
        "t", "b", [0.5, 0.5], {svg.FLOOR: [1, 0]}, top=1, marks={1: "edge"}, x_name="nats"
    ),
    "intervals": lambda: charts.intervals(
        "t", [Dot("sisa", 0.5, (0.4, 0.6), "50 %", "+1.0"), Dot("x", None)], (0.4, 0.5), (0, 1)
    ),
    "lines": lambda: charts.lines(
        "t", "b", {"S = 1": [(1, 0.5), (9, 0.7)]}, x_name="K", write=PERCENT, base=0.6
    ),
    "dots": lambda: charts.dots(
        "t",
        "b",
        [Dot("none", 9.0, (1, 99), "none 9", x=0.1), Dot("floor", 0.1, hollow=True, x=1)],
        x_name="cost",
        level=0.1,
        level_name="floor 0.1",
    ),
    "agreement": lambda: charts.agreement(
        "t", "b", [(10, 11), (0, 1)], [(900, 500)], x_name="known", write=str
    ),
}
WORDS = {
    "bars": ["b1", "25 %", "1 of 4", "b2", "not run"],
    "histogram": ["0 %", "50 %", "100 %", "edge", "nats"],
    "intervals": ["sisa", "50 %", "+1.0", "not measured", "100 %"],
    "lines": ["S = 1", "K", "1", "9", "70%"],
    "dots": ["none 9", "floor 0.1", "cost", "100 %"],
    "agreement": ["known", "10.0", "1000.0"],
}


def paths(chart: Chart, colour: str) -> list[list[tuple[float, float]]]:
    """Return the corners of every shape and line in a colour, px from the upper left."""
    found = re.findall(rf'<path d="([^"]*)" style="[^"]*var\(--{colour}\)', chart.svg)
    return [[(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.]+)", d)] for d in found]


@pytest.mark.parametrize("kind", DRAWINGS)
def test_text_is_text_and_colours_are_the_style_sheets(kind) -> None:
    drawing = DRAWINGS[kind]()
    texts = " | ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg.replace(NBSP, " ")))
    assert {one for one in WORDS[kind] if one not in texts} == set()
    assert not re.search(r"#[0-9a-f]{6}|font-family|<style|clip-path|<g|http", drawing.svg)
    assert set(re.findall(r"var\(--([a-z]+)", drawing.svg)) <= set(svg.COLOURS)


@pytest.mark.parametrize("kind", DRAWINGS)
def test_the_same_data_gives_the_same_bytes(kind) -> None:
    assert DRAWINGS[kind]() == DRAWINGS[kind]()


def test_bytes_do_not_depend_on_a_users_settings(tmp_path) -> None:
    code = (
        "from forgetflow.pages import charts\n"
        "print(charts.lines('t', 'b', {'S': [(1, 2), (3, 4)]}, x_name='K', write=str).svg)"
    )

    def drawn() -> str:
        run = [sys.executable, "-c", code]
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    before = drawn()
    (tmp_path / "matplotlibrc").write_text("font.size: 30\nlines.linewidth: 9\naxes.grid: True\n")
    assert drawn() == before
    assert "<svg" in before


def test_names_are_neither_markup_nor_mathematics(nasty) -> None:
    drawing = charts.bars(nasty, [Bar("$a_b$<i>", 0.5)])
    assert "<b " not in drawing.svg
    assert "$a_b$&lt;i&gt;" in drawing.svg


def test_bars_are_as_long_as_their_shares() -> None:
    drawing = charts.bars("t", [Bar("half", 0.5), Bar("double", 2.0)])
    (half, double), tracks = paths(drawing, "model"), paths(drawing, "track")
    lengths = [max(x for x, _ in one) - min(x for x, _ in one) for one in (half, double, *tracks)]
    assert lengths[0] == pytest.approx(lengths[1] / 4, abs=0.2)
    assert lengths[2] == lengths[3] == pytest.approx(lengths[1] / 2, abs=0.2)


def test_what_lies_beyond_an_axis_stays_inside_the_drawing() -> None:
    drawing = DRAWINGS["dots"]()
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', drawing.svg).groups())
    corners = [corner for path in paths(drawing, "model") for corner in path]
    assert corners
    assert all(0 <= x <= width and 0 <= y <= height for x, y in corners)


def test_nothing_to_draw_is_no_drawing() -> None:
    assert charts.lines("t", "b", {"S = 1": []}, x_name="K", write=str).svg == ""
    assert charts.agreement("t", "b", [], [(0, 1)], x_name="K", write=str).svg == ""


@given(st.lists(st.floats(0, 300), min_size=1, max_size=12))
def test_names_beside_each_other_do_not_meet(places) -> None:
    moved = apart(places, 14, (0, 300))
    assert all(b - a >= 14 - 1e-9 for a, b in pairwise(sorted(moved)))
    assert min(moved) >= -1e-9
    assert max(moved) <= 300 + 1e-9
    order = sorted(range(len(places)), key=places.__getitem__)
    assert [moved[n] for n in order] == sorted(moved)


@given(st.floats(1e-3, 1e6), st.floats(1, 1e4))
def test_axes_hold_their_values(low, factor) -> None:
    high = low * factor
    for ticks, hair in ((log_ticks(low, high), 1.02), (ticks_of(low, high), 1 + 1e-6)):
        assert len(ticks) >= 2
        assert ticks == sorted(set(ticks))
        assert ticks[0] <= low * hair
        assert high <= ticks[-1] * hair + 1e-9
