"""The audit's page: every estimate and reason is on it, and it says what can be relied on."""

from dataclasses import replace

import pytest

from forgetflow.audit.audit import Audit
from forgetflow.audit.context import FLOOR, ORACLE
from forgetflow.audit.controls import Control
from forgetflow.audit.protocol import Estimate
from forgetflow.audit.registry import AUDITS
from forgetflow.pages.audit.columns import COLUMNS, Place, column
from forgetflow.pages.audit.page import audit_page
from forgetflow.pages.numbers import TIMES

LONG = "a-method-whose-name-goes-on-and-on-without-any-place-to-break-it-at-all"


@pytest.fixture
def page_of(read):
    """Return the reader of an audit's page."""
    return lambda audit: read(audit_page(audit))


def without_value(audit: Audit, reason: str, **of) -> Audit:
    """Return the audit with no value where an estimate's fields are as given."""
    return replace(
        audit,
        estimates=[
            replace(f, value=None, low=None, high=None, reason=reason)
            if all(getattr(f, name) == value for name, value in of.items())
            else f
            for f in audit.estimates
        ],
    )


def numbers(audit: Audit) -> set[str]:
    """Return how every value and bound is written."""
    found = set()
    for estimate in audit.estimates:
        unit = column(Place(estimate.measure, estimate.set, estimate.statistic)).unit
        if estimate.value is not None:
            found.add(unit(estimate.value))
        if estimate.low is not None:
            found.add(unit.interval(estimate.low, estimate.high))
    return {" ".join(one.split()) for one in found}


AWKWARD = {
    "usual": {},
    "one member": {"members": 1},
    "steady": {"members": 100},
    "long name": {"methods": (LONG, "sisa")},
    "twelve": {"methods": tuple(f"method-{n}" for n in range(6))},
    "oracles only": {"methods": (), "controls": ()},
    "bare": {"tables": {}, "costs": {}, "facts": {}, "controls": ()},
    "misbehaving": {"outcome": "misbehaves"},
    "no power": {"outcome": "no power"},
    "nothing measured": {"estimates": [], "tables": {}, "costs": {}},
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_every_estimate_is_there_on_a_page_of_its_own(kind, make_audit, page_of) -> None:
    audit = make_audit(**AWKWARD[kind])
    page = page_of(audit)
    assert {one for one in numbers(audit) if one not in page.text} == set()
    assert all(name in page.text for name in audit.members)
    assert set(page.values("href", "a")) == {
        f"#{one}" for one in page.values("id") if "measure" in one
    }


def test_names_cannot_break_the_page(make_audit, page_of, nasty) -> None:
    page = page_of(make_audit(methods=(nasty,), batch=nasty, facts={nasty: nasty}))
    assert page.text.count(nasty) >= 4
    assert page.values("onclick") == []
    assert any(nasty in label for label in page.labels())


def test_the_same_audit_gives_the_same_bytes(make_audit) -> None:
    assert audit_page(make_audit()) == audit_page(make_audit())


def test_every_measure_has_a_title_and_a_reading(make_audit, page_of) -> None:
    text = page_of(make_audit()).text
    for measure in AUDITS.values():
        assert measure.title in text
        assert measure.reading in text


def test_listed_estimates_are_those_of_the_measures() -> None:
    assert {measure for measure, _ in COLUMNS} == set(AUDITS)


def test_a_estimate_of_an_unknown_measure_is_shown_too(make_audit, page_of) -> None:
    estimate = Estimate("brand new", FLOOR, "some set", "odd_estimate", 0.12345)
    text = page_of(make_audit(estimates=[estimate])).text
    assert "brand new" in text
    assert "odd estimate" in text
    assert "0.123" in text


def test_missing_estimates_are_dashes_with_a_reason(make_audit, page_of) -> None:
    reason = 'only 3 models: "too few" & <such>'
    page = page_of(without_value(make_audit(), reason, measure="ulira", set="forget"))
    dashes = [attrs["title"] for _, attrs in page.tags if attrs.get("class") == "missing"]
    assert dashes
    assert set(dashes) == {reason}
    assert page.text.count(reason) == 2  # one footnote at a glance, one in the section


def test_remarks_on_estimates_are_footnotes(make_audit, page_of) -> None:
    audit = make_audit()
    first = next(f for f in audit.estimates if f.measure == "zrf")
    noted = [replace(f, reason="rough") if f is first else f for f in audit.estimates]
    assert page_of(replace(audit, estimates=noted)).text.count("rough") == 1
    everyone = [replace(f, reason="rough") if f.measure == "zrf" else f for f in audit.estimates]
    page = page_of(replace(audit, estimates=everyone))
    assert page.values("title", "sup").count("rough") == 1  # in the header, not in every row


@pytest.mark.parametrize("outcome", ["behaves", "misbehaves", "no power"])
def test_the_banner_says_whether_the_audit_can_be_relied_on(outcome, make_audit, page_of) -> None:
    page = page_of(make_audit(outcome=outcome))
    banners = [one for one in page.values("class", "div") if one.startswith("banner")]
    expected = {"behaves": "calm", "misbehaves": "failed", "no power": "skipped"}
    assert banners == [f"banner {expected[outcome]}"]
    assert ("Do not rely on this audit" in page.text) == (outcome == "misbehaves")
    assert ("has no power" in page.text) == (outcome == "no power")
    assert ("badge failed" in page.values("class", "span")) == (outcome == "misbehaves")


def test_an_audit_without_controls_is_not_calm(make_audit, page_of) -> None:
    page = page_of(replace(make_audit(), controls=[]))
    assert "No control was checked" in page.text
    assert "banner calm" not in page.values("class", "div")


def test_methods_get_no_verdict_while_a_control_misbehaves(make_audit, page_of) -> None:
    assert "main estimates" in page_of(make_audit()).text
    assert "main estimates" not in page_of(make_audit(outcome="misbehaves")).text


def test_a_control_that_could_not_be_made_needs_no_row(make_audit, page_of) -> None:
    absent = Control("ascent", "misbehaves", "diverged")
    audit = make_audit(controls=("original", "none"), outcome="behaves")
    page = page_of(replace(audit, controls=[*audit.controls, absent]))
    assert "ascent: diverged" in page.text


def test_no_difference_without_power_is_no_merit(make_audit, page_of) -> None:
    audit = make_audit(outcome="no power")
    alike = [replace(f, value=0.5, low=0.4, high=0.6) for f in audit.estimates]
    text = page_of(replace(audit, estimates=alike)).text
    assert "cannot be told from retraining" in text
    assert "neither can doing nothing" in text


def test_distances_are_shown_as_multiples_of_the_floor(make_audit, page_of) -> None:
    estimates = [
        Estimate("divergence", FLOOR, "forget", "js", 0.002),
        Estimate("divergence", "sisa", "forget", "js", 0.005),
    ]
    assert f"2.50 {TIMES} floor" in page_of(make_audit(estimates=estimates)).text


def test_klom_stands_at_a_glance_only_with_enough_members(make_audit, page_of) -> None:
    few, many = (page_of(make_audit(members=m)).text for m in (12, 80))
    assert "Margins: Gaussian KL, p95 (nats)" in few
    assert "Margins: KLoM, p95 (nats)" in many


def test_without_normal_laws_the_kolmogorov_smirnov_distance_stands_at_a_glance(
    make_audit, page_of
) -> None:
    text = page_of(without_value(make_audit(), "no law", statistic="gaussian_p95")).text
    assert "Margins: Kolmogorov-Smirnov, p95" in text
    assert "Margins: Gaussian KL" not in text


def test_charts_show_the_tables(make_audit, page_of) -> None:
    audit = make_audit()
    labels = page_of(audit).labels()
    assert sum("overlap with the oracles" in one for one in labels) == len(audit.members) - 1
    assert {"Forgotten records", "Kept records", "Test records"} <= set(labels)
    assert sum("to the oracles, on forgotten records" in one for one in labels) == 2


def test_overlap_of_margins_is_the_shared_area(make_audit, page_of) -> None:
    rows = [
        {"contender": who, "bin_low": float(low), "bin_high": low + 1.0, "share": share}
        for who, shares in ((ORACLE, (0.5, 0.5, 0.0)), (FLOOR, (0.0, 0.25, 0.75)))
        for low, share in enumerate(shares)
    ]
    audit = make_audit(methods=(), controls=(), tables={"margins.csv": rows})
    assert "overlap with the oracles 25.0 %" in page_of(audit).text
