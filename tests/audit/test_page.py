import json
import random
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from forgetflow.audit.audit import Audit
from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.audit.controls import Control
from forgetflow.audit.protocol import Figure
from forgetflow.audit.registry import AUDITS
from forgetflow.evaluation.wording import TIMES
from forgetflow.pages.audit.columns import COLUMNS, Place, column
from forgetflow.pages.audit.labels import Label, Point, place_labels
from forgetflow.pages.audit.page import build_page
from forgetflow.pages.audit.view import View

VOID = {"meta", "br", "line", "rect", "path", "circle"}
NASTY = '<b onclick="x()">"a&b\'</b>'
LONG = "a-method-whose-name-goes-on-and-on-without-any-place-to-break-it-at-all"

STATISTICS = {
    "performance": {
        "forget": ("accuracy", "gap"),
        "retain": ("accuracy", "gap"),
        "test": ("accuracy", "gap"),
        "all": ("tow", "average_gap"),
    },
    "klom": dict.fromkeys(("retain", "forget"), ("p95", "mean", "gaussian_p95", "ks_p95")),
    "ulira": dict.fromkeys(("retain", "forget"), ("accuracy", "auc", "p95_accuracy")),
    "divergence": dict.fromkeys(
        ("retain", "forget", "test"),
        ("js", "kl_to_oracle", "kl_from_oracle", "activation_distance", "completeness"),
    ),
    "attacks": {"forget": ("auc_loss", "auc_entropy", "auc_confidence", "member_rate")},
    "lira": {"forget": ("auc", "tpr_at_1pct_fpr")},
    "relearn": {"forget": ("steps", "anamnesis_index")},
    "memorisation": {
        "forget": tuple(
            f"{kind}_{third}" for kind in ("accuracy", "margin_gap") for third in ("low", "high")
        )
    },
    "confusion": {"test": ("error", "confusion", "confusion_tv"), "forget": ("error",)},
    "zrf": {"forget": ("zrf",)},
    "inversion": {"forget": ("judge_confidence", "own_confidence")},
    "weights": {"all": ("relative_distance",)},
}
VALUES = {("performance", "accuracy"), ("relearn", "steps"), ("zrf", "zrf"), ("lira", "auc")}
"""Some of the statistics that the oracle has as well."""


class Page(HTMLParser):
    """Checks that tags nest, and collects text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        assert tag in VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert tag not in VOID
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def classes(self, tag: str) -> list[str]:
        return [attrs.get("class") or "" for name, attrs in self.tags if name == tag]


def make_audit(
    methods=("sisa",),
    controls=("original", "none", "finetune", "ascent"),
    members=12,
    outcome="behaves",
    seed=0,
    **changes,
) -> Audit:
    """Return an audit with figures of every measure, drawn at random but alike for one seed."""
    draw = random.Random(seed)
    contenders = [ORACLE, FLOOR, *methods, *controls]
    figures = []
    for measure, sets in STATISTICS.items():
        for name, statistics in sets.items():
            for statistic in statistics:
                valued = (measure, statistic) in VALUES
                target = 0.5 if measure == "ulira" else 0.8 if valued else None
                for contender in contenders if valued else contenders[1:]:
                    value = draw.uniform(0.05, 0.95)
                    half = 0.01 * draw.random()
                    bounds = (value - half, value + half) if members > 1 else (None, None)
                    place = (measure, contender, name, statistic)
                    figures.append(Figure(*place, value, *bounds, target=target))
    edges = [-100.0, *map(float, range(-15, 26)), 100.0]
    margins, accuracy = [], []
    for shift, contender in enumerate(contenders):
        weights = [max(0.0, 6 - abs(low - shift % 5)) for low in edges[:-1]]
        margins += [
            {"contender": contender, "bin_low": low, "bin_high": high, "share": w / sum(weights)}
            for low, high, w in zip(edges, edges[1:], weights, strict=False)
        ]
        for name in ("retain", "forget", "test"):
            figure = next(
                f
                for f in figures
                if (f.contender, f.set, f.statistic) == (contender, name, "accuracy")
            )
            accuracy.append(
                {
                    "contender": contender,
                    "set": name,
                    "accuracy": figure.value,
                    "low": figure.low,
                    "high": figure.high,
                }
            )
    confusion = [
        {"contender": contender, "true": true, "predicted": guess, "share": draw.random()}
        for contender in contenders
        for true in ("cat", "dog", "rare")
        for guess in ("cat", "dog", "rare")
    ]
    for row in confusion:
        row["share"] = None if row["true"] == "rare" else row["share"]
    parts = {
        "batch": "class 8, 40 records",
        "members": dict.fromkeys(contenders, members),
        "records": {"retain": 1342, "forget": 40, "test": 415},
        "figures": figures,
        "controls": [Control(FLOOR, "behaves", "the oracles cannot be told apart")]
        + [Control("none", outcome, f"nothing done: {outcome}")] * ("none" in controls),
        "tables": {
            "margins.csv": margins,
            "audit_accuracy.csv": accuracy,
            "confusion.csv": confusion,
            "memorisation.csv": [{"tercile": "low", "records": 14, "memorisation": 0.021}],
            "relearn_settings.csv": [{"unit": "mini-batch steps", "max_steps": 300}],
        },
        "costs": {
            name: {
                "seconds": 0.1 * number,
                "samples": 1000.0 * number,
                "steps": 10.0,
                "bytes": 9.0,
                "passes": 1.0,
                "of_retrain": number / len(contenders),
            }
            for number, name in enumerate(contenders)
        },
        "facts": {
            "model": {"architecture": "mlp", "hidden": [128]},
            "environment": {"torch": "2.9", "nested": {"threads": 2}},
        },
    }
    return Audit(**(parts | changes))


def without_value(audit: Audit, reason: str, **of) -> Audit:
    """Return the audit with no value where a figure's fields are as given."""
    return replace(
        audit,
        figures=[
            replace(f, value=None, low=None, high=None, reason=reason)
            if all(getattr(f, name) == value for name, value in of.items())
            else f
            for f in audit.figures
        ],
    )


def page_of(audit: Audit) -> Page:
    return Page(build_page(audit, AUDITS))


def numbers(audit: Audit) -> set[str]:
    """Return how every value and bound is written."""
    found = set()
    for figure in audit.figures:
        unit = column(Place(figure.measure, figure.set, figure.statistic)).unit
        if figure.value is not None:
            found.add(unit(figure.value))
        if figure.low is not None:
            found.add(unit.interval(figure.low, figure.high))
    return {" ".join(one.split()) for one in found}


AWKWARD = {
    "usual": {},
    "one member": {"members": 1},
    "steady": {"members": 100},
    "long name": {"methods": (LONG, "sisa")},
    "nasty name": {"methods": (NASTY,), "batch": NASTY, "facts": {NASTY: NASTY}},
    "twelve": {"methods": tuple(f"method-{n}" for n in range(6))},
    "oracles only": {"methods": (), "controls": ()},
    "bare": {"tables": {}, "costs": {}, "facts": {}, "controls": ()},
    "misbehaving": {"outcome": "misbehaves"},
    "no power": {"outcome": "no power"},
    "nothing measured": {"figures": [], "tables": {}, "costs": {}},
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_the_page_is_well_formed_and_needs_nothing_else(kind) -> None:
    html = build_page(make_audit(**AWKWARD[kind]), AUDITS)
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not {"script", "link", "img", "iframe", "object", "use"} & tags
    assert not any(one in html for one in ("http", "url(", "src=", "@import"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert links == {f"#{one}" for one in ids}
    assert not any(one in page.text for one in ("None", "nan", "inf "))
    assert "prefers-color-scheme: dark" in html


@pytest.mark.parametrize("kind", AWKWARD)
def test_every_figure_is_there(kind) -> None:
    audit = make_audit(**AWKWARD[kind])
    text = page_of(audit).text
    assert {one for one in numbers(audit) if one not in text} == set()
    assert all(name in text for name in audit.members)


def test_every_measure_has_a_title_and_a_reading() -> None:
    text = page_of(make_audit()).text
    for measure in AUDITS.values():
        assert measure.title in text
        assert measure.reading in text


def test_listed_figures_are_those_of_the_measures() -> None:
    assert {measure for measure, _ in COLUMNS} == set(AUDITS)


def test_a_figure_of_an_unknown_measure_is_shown_too() -> None:
    figure = Figure("brand new", FLOOR, "some set", "odd_figure", 0.12345)
    text = page_of(make_audit(figures=[figure])).text
    assert "brand new" in text
    assert "odd figure" in text
    assert "0.123" in text


def test_missing_figures_are_dashes_with_a_reason() -> None:
    reason = 'only 3 models: "too few" & <such>'
    audit = without_value(make_audit(), reason, measure="ulira", set="forget")
    page = page_of(audit)
    dashes = [a["title"] for _, a in page.tags if a.get("class") == "missing" and "title" in a]
    assert dashes
    assert set(dashes) == {reason}
    assert page.text.count(reason) == 2  # one footnote at a glance, one in the section


def test_remarks_on_figures_are_footnotes() -> None:
    audit = make_audit()
    first = next(f for f in audit.figures if f.measure == "zrf")
    noted = replace(
        audit, figures=[replace(f, reason="rough") if f is first else f for f in audit.figures]
    )
    assert page_of(noted).text.count("rough") == 1
    everyone = [replace(f, reason="rough") if f.measure == "zrf" else f for f in audit.figures]
    page = page_of(replace(audit, figures=everyone))
    assert page.classes("sup").count("note") == 1  # in the header, not in every row


@pytest.mark.parametrize("outcome", ["behaves", "misbehaves", "no power"])
def test_the_banner_says_whether_the_audit_can_be_relied_on(outcome) -> None:
    page = page_of(make_audit(outcome=outcome))
    banners = [one for one in page.classes("div") if one.startswith("banner")]
    expected = {"behaves": "calm", "misbehaves": "failed", "no power": "skipped"}
    assert banners == [f"banner {expected[outcome]}"]
    assert ("Do not rely on this audit" in page.text) == (outcome == "misbehaves")
    assert ("has no power" in page.text) == (outcome == "no power")
    assert ("badge failed" in page.classes("span")) == (outcome == "misbehaves")


def test_an_audit_without_controls_is_not_calm() -> None:
    page = page_of(replace(make_audit(), controls=[]))
    assert "No control was checked" in page.text
    assert "banner calm" not in page.classes("div")


def test_methods_get_no_verdict_while_a_control_misbehaves() -> None:
    assert "main figures" in page_of(make_audit()).text
    assert "main figures" not in page_of(make_audit(outcome="misbehaves")).text


def test_a_control_that_could_not_be_made_needs_no_row() -> None:
    absent = Control("ascent", "misbehaves", "diverged")
    audit = make_audit(controls=("original", "none"), outcome="behaves")
    page = page_of(replace(audit, controls=[*audit.controls, absent]))
    assert "ascent: diverged" in page.text


def test_no_difference_without_power_is_no_merit() -> None:
    audit = make_audit(outcome="no power")
    alike = [replace(f, value=0.5, low=0.4, high=0.6) for f in audit.figures]
    text = page_of(replace(audit, figures=alike)).text
    assert "cannot be told from retraining" in text
    assert "neither can doing nothing" in text


def test_names_cannot_break_the_page() -> None:
    html = build_page(make_audit(**AWKWARD["nasty name"]), AUDITS)
    assert "<b onclick" not in html
    assert 'title=""' not in html
    assert NASTY in Page(html).text


def test_the_same_audit_gives_the_same_page_also_from_its_file() -> None:
    audit = make_audit(methods=("sisa", "finetune"), controls=("original", "none", "ascent"))
    stored = Audit.from_json(json.loads(json.dumps(audit.to_json(), sort_keys=True)))
    page = build_page(audit, AUDITS)
    assert build_page(audit, AUDITS) == page
    assert View(stored).contenders == View(audit).contenders


def test_methods_come_first_and_oracles_last() -> None:
    audit = make_audit(methods=("sisa", "finetune"), controls=("original", "none", "ascent"))
    view = View(audit)
    assert view.methods == ["sisa", "finetune"]
    assert view.contenders == ["sisa", "finetune", "original", "none", "ascent", FLOOR, ORACLE]
    assert view.role("finetune") == "under audit, and a control"
    assert view.role("none") == "control: nothing done"


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [(0.70, 0.75, "above"), (0.55, 0.70, "within"), (0.1, 0.2, "below"), (None, None, None)],
)
def test_a_figure_is_apart_if_its_interval_clears_both_oracles(low, high, side) -> None:
    figures = [
        Figure("performance", ORACLE, "test", "accuracy", 0.5, 0.45, 0.55, target=0.5),
        Figure("performance", FLOOR, "test", "accuracy", 0.55, 0.5, 0.6, target=0.5),
        Figure("performance", "sisa", "test", "accuracy", 0.6, low, high, target=0.5),
    ]
    view = View(make_audit(figures=figures))
    assert view.band(Place("performance", "test", "accuracy")) == (0.45, 0.6)
    assert view.side("sisa", Place("performance", "test", "accuracy")) == side


def test_ranges_of_single_runs_are_not_judged() -> None:
    place = Place("relearn", "forget", "anamnesis_index")
    figures = [
        Figure("relearn", FLOOR, "forget", "anamnesis_index", 1.0, 1.0, 1.0, target=1.0),
        Figure("relearn", "sisa", "forget", "anamnesis_index", 0.8, 0.8, 0.8, target=1.0),
    ]
    assert View(make_audit(figures=figures)).side("sisa", place) is None


def test_distances_are_multiples_of_the_floor() -> None:
    figures = [
        Figure("divergence", FLOOR, "forget", "js", 0.002),
        Figure("divergence", "sisa", "forget", "js", 0.005),
    ]
    audit = make_audit(figures=figures)
    assert View(audit).times_floor("sisa", Place("divergence", "forget", "js")) == 2.5
    assert f"2.50 {TIMES} floor" in page_of(audit).text
    assert View(audit).times_floor("sisa", Place("ulira", "forget", "accuracy")) is None


def test_klom_stands_at_a_glance_only_with_enough_members() -> None:
    few, many = (page_of(make_audit(members=m)).text for m in (12, 80))
    assert "Margins: Gaussian KL, p95 (nats)" in few
    assert "Margins: KLoM, p95 (nats)" in many


def test_figures_are_drawn_from_the_tables() -> None:
    audit = make_audit()
    page = page_of(audit)
    labels = [attrs["aria-label"] for tag, attrs in page.tags if tag == "svg"]
    assert sum(one.startswith("Margins") for one in labels) == len(audit.members) - 1
    assert sum(one.startswith("Accuracy") for one in labels) == 3
    assert sum(one.endswith("against cost") for one in labels) == 2
    assert "Margins of forgotten records under sisa and the oracles" in " ".join(labels)


def test_overlap_of_margins_is_the_shared_area() -> None:
    rows = [
        {"contender": who, "bin_low": float(low), "bin_high": low + 1.0, "share": share}
        for who, shares in ((ORACLE, (0.5, 0.5, 0.0)), (FLOOR, (0.0, 0.25, 0.75)))
        for low, share in enumerate(shares)
    ]
    audit = make_audit(methods=(), controls=(), tables={"margins.csv": rows})
    assert "overlap with the oracles 25.0 %" in page_of(audit).text


def test_labels_cover_neither_each_other_nor_points() -> None:
    points = [Point(100.0, 100.0 + n // 4, f"contender-{n} 0.123") for n in range(12)]
    labels = place_labels(points, (0, 0, 432, 300), [(0, 104, 432, 106)])
    assert [label.point for label in labels] == points

    def meet(one, other) -> bool:
        return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

    boxes = [label.box for label in labels]
    assert not any(meet(a, b) for n, a in enumerate(boxes) for b in boxes[:n])
    assert not any(meet(box, (p.x, p.y, p.x, p.y)) for box in boxes for p in points)
    assert not any(meet(box, (0, 104, 432, 106)) for box in boxes)
    assert all(box[0] >= 0 and box[1] >= 0 and box[2] <= 432 and box[3] <= 300 for box in boxes)


def test_a_label_without_room_stays_beside_its_point() -> None:
    point = Point(5.0, 5.0, "name")
    assert place_labels([point], (0, 0, 1, 1)) == [Label(point, 15.0, 9.0)]
