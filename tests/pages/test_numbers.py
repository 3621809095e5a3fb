"""How numbers are written."""

import pytest

from forgetflow.pages import numbers
from forgetflow.pages.facts import blocks

MINUS, NBSP, TIMES = numbers.MINUS, numbers.NBSP, numbers.TIMES


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.percent, 0.9715, "97.2 %"),
        (numbers.decimal, -0.0001, "0.000"),
        (numbers.signed, 0.5, "+0.500"),
        (numbers.signed, -0.25, f"{MINUS}0.250"),
        (numbers.amount, 1234567.4, "1,234,567"),
        (numbers.pp, 0.0123, "+1.2"),
        (numbers.pp, -0.0004, "0.0"),
        (numbers.times, 4.51, f"4.5{TIMES}"),
        (numbers.times, 1234.5, f"1,234{TIMES}"),
        (numbers.significant, 1234.5, "1,234"),
        (numbers.significant, 0.0123456, "0.0123"),
        (numbers.significant, -92.14, f"{MINUS}92.1"),
        (numbers.significant, 0.0000123, f"1.2e{MINUS}05"),
        (numbers.significant, 1e-12, "0"),
        (numbers.seconds, 0, "0 s"),
        (numbers.seconds, 0.08, "80.0 ms"),
        (numbers.seconds, 0.85, "0.85 s"),
        (numbers.seconds, 59.0, "59.0 s"),
        (numbers.seconds, 246, "4.1 min"),
        (numbers.seconds, 8280, "2.3 h"),
    ],
)
def test_numbers_are_written_for_people(write, value, text) -> None:
    assert write(value).replace(NBSP, " ") == text
    assert write(None) == numbers.DASH


def test_a_spread_stands_beside_its_mean() -> None:
    assert numbers.percent(0.9, 0.011).replace(NBSP, " ") == "90.0 ± 1.1 %"
    assert numbers.pp(-0.02, 0.001).replace(NBSP, " ") == f"{MINUS}2.0 ± 0.1"


def test_counts_have_their_plural() -> None:
    assert [numbers.count(n, "record") for n in (0, 1, 2000)] == [
        "0 records",
        "1 record",
        "2,000 records",
    ]


def test_facts_are_blocks_of_names_and_values() -> None:
    facts = {
        "test_records": 415,
        "model": {"hidden": [128, 64], "dropout": None, "forest": {"trees": 10}},
        "exact": True,
    }
    assert blocks(facts) == [
        ("Facts", [("test records", "415"), ("exact", "yes")]),
        ("Model", [("hidden", "128, 64"), ("dropout", "none"), ("forest: trees", "10")]),
    ]
