import pytest

from forgetflow.errors import InputError
from forgetflow.requests.request import Selector
from forgetflow.requests.selectors import check_selector, label_index, resolve, resolve_all


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("record", "r2", ["r2"]),
        ("record", "r9", []),
        ("subject", "ann", ["r0", "r1", "r2"]),
        ("subject", "nobody", []),
        ("label", "dog", ["r1", "r4"]),
        ("label", "1", ["r1", "r4"]),
        ("label", "2", ["r2", "r5"]),
        ("label", "cow", []),
        ("label", "3", []),
        ("label", "-1", []),
        ("where", 'city == "ulm"', ["r0", "r1"]),
        ("where", "age > 1000", []),
    ],
)
def test_resolve(records, kind, value, expected):
    assert resolve(Selector(kind, value), records) == expected


def test_a_class_name_wins_over_an_index(records):
    assert label_index("2", records.schema) == 2
    assert label_index("0", records.schema) == 0
    assert label_index("9" * 50, records.schema) is None


def test_one_unusable_expression_does_not_stop_the_others(records, new_request):
    good, bad = new_request(subject="bob"), new_request(where="nope == 1")
    selected, problems = resolve_all([bad, good], records)
    assert selected == {good.request_id: ["r3", "r4"]}
    assert problems.keys() == {bad.request_id}


def test_selectors_without_meaning_are_refused_early(records):
    check_selector(Selector("label", "dog"), records.schema)
    check_selector(Selector("subject", "nobody"), records.schema)
    for selector in (Selector("label", "cow"), Selector("where", "age")):
        with pytest.raises(InputError):
            check_selector(selector, records.schema)


def test_resolved_subject_lists_are_the_callers_own(records, new_request):
    first, second = new_request(subject="bob"), new_request(subject="bob", requester="x")
    selected, _ = resolve_all([first, second], records)
    selected[first.request_id].clear()
    assert selected[second.request_id] == ["r3", "r4"]
