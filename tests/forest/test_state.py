"""The state is plain arrays, and from it and the records the forest goes on."""

import io

import numpy as np
import pytest

from forgetflow.errors import InputError
from forgetflow.forest import Forest


@pytest.fixture
def records(make_records):
    return make_records(400, seed=1, trees=3, share=0.8, random_depth=1)


def test_round_trip_through_a_file_without_pickle(records):
    forest = records.fit()
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **forest.state())
    file.seek(0)
    state = dict(np.load(file, allow_pickle=False))
    again = Forest.from_state(state)
    assert again.digest() == forest.digest()
    assert (again.predict(records.features) == forest.predict(records.features)).all()


def test_a_stored_forest_deletes_and_adds_like_the_one_in_memory(records):
    order = np.random.default_rng(0).permutation(400)
    forest = records.fit(order[:300])
    again = Forest.from_state(forest.state(), records.part(np.sort(order[:300])), threads=2)
    for row in order[:30]:
        again.delete(records.digests[[row]])
    again.delete(records.digests[order[30:90]])
    again.add(*records.part(order[300:]))
    assert again.digest() == records.fit(order[90:]).digest()


def test_without_records_it_predicts_and_refuses_the_rest(records):
    forest = Forest.from_state(records.fit().state())
    assert forest.predict_proba(records.features[:3]).shape == (3, 3)
    with pytest.raises(InputError, match="cannot delete: give them to"):
        forest.delete(records.digests[:1])
    with pytest.raises(InputError, match="cannot add"):
        forest.add(*records.part([0]))
    with pytest.raises(InputError, match="cannot count"):
        len(forest)


def test_other_records_are_refused(records):
    state = records.fit().state()
    digests, features, labels = records.part(slice(None))
    for other in (
        records.part(slice(1, None)),
        (digests, features, (labels + 1) % 3),
        (digests, features[::-1], labels),
    ):
        with pytest.raises(InputError, match="not those the forest was trained on"):
            Forest.from_state(state, other)


def test_an_emptied_forest_has_a_state(records):
    forest = records.fit()
    forest.delete(records.digests)
    again = Forest.from_state(forest.state(), records.part(slice(0, 0)))
    again.add(*records.part(slice(None)))
    assert again.digest() == records.fit().digest()


def test_damage_is_refused_in_words(records):
    good = records.fit().state()
    broken = {
        "missing": {name: array for name, array in good.items() if name != "right"},
        "cut": good | {"feature": good["feature"][:-1]},
        "far": good | {"right": np.where(good["right"] > 0, good["right"] + 1000, 0)},
        "short": good | {"right": np.where(good["right"] > 0, 1, 0).astype(np.int32)},
        "feature": good | {"feature": good["feature"] + 6},
        "ends": good | {"nodes_end": good["nodes_end"] + 1},
        "fewer": good | {"nodes_end": good["nodes_end"][-1:]},
        "text": good | {"about": np.frombuffer(b"{", np.uint8)},
    }
    for state in broken.values():
        with pytest.raises(InputError, match="damaged"):
            Forest.from_state(state)
    newer = np.frombuffer(good["about"].tobytes().replace(b'"format":1', b'"format":9'), np.uint8)
    with pytest.raises(InputError, match="format 9"):
        Forest.from_state(good | {"about": newer})


def test_settings_grid_and_classes_come_back(records):
    again = Forest.from_state(records.fit().state())
    assert again.settings == records.settings
    assert again.classes == records.classes
    pairs = zip(again.grid.thresholds, records.grid.thresholds, strict=True)
    assert all((a == b).all() for a, b in pairs)
