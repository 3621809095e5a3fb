"""Fits: plain training from given weights, together or alone, as long and as far as asked."""

from dataclasses import replace
from math import ceil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from forgetflow.config.optimiser import OptimiserSettings
from forgetflow.errors import VerdictError
from forgetflow.training.chain import Samples
from forgetflow.training.objective import CrossEntropy
from forgetflow.training.recipe import Recipe
from forgetflow.training.schedule import Batches
from forgetflow.training.sequential import untrained
from forgetflow.unlearning.fit import PLACE, Fit, carry_out
from forgetflow.unlearning.meter import Meter
from forgetflow.unlearning.objectives import Distillation
from forgetflow.unlearning.protocol import jobs_of
from forgetflow.unlearning.records import Records
from forgetflow.unlearning.registry import METHODS
from forgetflow.unlearning.view import View

COUNTS = (3, 17, 8, 1, 17)
"""Records of every case, and two more."""

EVERYBODY = tuple(range(len(COUNTS)))
SGD = OptimiserSettings(learning_rate=0.1, batch_size=4, weight_decay=0.01)
ADAM = OptimiserSettings(optimizer="adam", learning_rate=0.01, batch_size=4)
CPU = torch.device("cpu")


def samples(count, seed):
    rng = np.random.default_rng(seed)
    return Samples(
        rng.normal(size=(count, 6)).astype(np.float32),
        rng.integers(3, size=count),
        rng.integers(256, size=(count, 32), dtype=np.uint8),
    )


@pytest.fixture
def make_recipe(make_settings):
    def make(engine="sequential", **model):
        settings = make_settings(model={"hidden": [8], **model}, train={"engine": engine})
        return Recipe.from_settings(settings, (6,), 3)

    return make


@pytest.fixture(params=["sequential", "stacked"])
def recipe(request, make_recipe):
    return make_recipe(request.param, normalize="standard")


def cases_of(recipe):
    """Return stand-ins for cases with networks of their own, and their records."""
    cases, data = [], []
    for number, count in enumerate(COUNTS):
        student = untrained(recipe, 50 + number, 0)
        if recipe.model.normalize == "standard":
            student[0].fit(torch.randn(20, 6, generator=torch.Generator().manual_seed(number)))
        own = replace(recipe, seed=number % 2)
        cases.append(
            SimpleNamespace(recipe=own, shard=number // 2, student=student.eval(), meter=Meter())
        )
        retain = Records.of([samples(count, number)], CPU, forgotten=False)
        data.append(retain + Records.of([samples(2, 90 + number)], CPU, forgotten=True))
    return cases, data


def as_bytes(case):
    return {name: value.numpy().tobytes() for name, value in case.student.state_dict().items()}


def fitted(recipe, chosen=EVERYBODY, **changes):
    """Return the chosen cases after a fit of all of them together."""
    cases, data = cases_of(recipe)
    words = {"objective": CrossEntropy(), "epochs": 1.5, "optimiser": SGD} | changes
    if isinstance(words["objective"], Distillation):
        untaught = untrained(recipe, 9, 9).eval()
        data = [one.with_targets(wanted=one.through(untaught)) for one in data]
    carry_out([(cases[i], Fit(data=data[i], **words)) for i in chosen], 0)
    return [cases[i] for i in chosen]


@pytest.mark.parametrize(
    "objective", [CrossEntropy(), CrossEntropy(-1.0), Distillation("wanted", 2.0)], ids=repr
)
@pytest.mark.parametrize("optimiser", [SGD, ADAM], ids=["sgd", "adam"])
def test_together_is_alone(recipe, objective, optimiser):
    words = {"objective": objective, "optimiser": optimiser}
    together = fitted(recipe, **words)
    some = fitted(recipe, (4, 0, 2), **words)
    assert [as_bytes(one) for one in some] == [as_bytes(together[i]) for i in (4, 0, 2)]
    for number, case in enumerate(together):
        (alone,) = fitted(recipe, [number], **words)
        assert as_bytes(alone) == as_bytes(case)
        assert alone.meter == case.meter


def by_hand(recipe, number, epochs, sign, place=PLACE):
    """Return the network that a loop of torch makes, and (records, steps)."""
    cases, data = cases_of(recipe)
    case, records = cases[number], data[number]
    optimizer = torch.optim.SGD(
        case.student.parameters(),
        lr=0.1,
        momentum=0.9,
        weight_decay=0.01,
        maximize=sign < 0,
        fused=True,
    )
    batches = Batches(records.digests, 4, case.recipe.seed, (case.shard, place))
    steps, passed = ceil(epochs * batches.steps_per_epoch()), 0
    for rows in batches.iterate(0, steps):
        optimizer.zero_grad()
        where = torch.from_numpy(rows)
        logits = case.student(records.inputs[where])
        nn.functional.cross_entropy(logits, records.labels[where]).backward()
        optimizer.step()
        passed += len(rows)
    return case.student, (passed, passed, steps)


@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_plain_training_from_the_given_weights(recipe, sign):
    start, _ = cases_of(recipe)
    for number, case in enumerate(fitted(recipe, objective=CrossEntropy(float(sign)))):
        network, cost = by_hand(recipe, number, 1.5, sign)
        assert (case.meter.forward, case.meter.backward, case.meter.steps) == cost
        before = start[number].student.state_dict()
        for name, value in network.state_dict().items():
            found = case.student.state_dict()[name]
            if recipe.engine == "sequential":
                assert torch.equal(found, value), name
            else:
                assert torch.allclose(found, value, rtol=1e-5, atol=2e-6), name
            if "mean" not in name and "deviation" not in name:
                assert not torch.allclose(before[name], value, atol=1e-3), "it moved"


def test_every_fit_of_a_case_has_an_order_of_its_own(make_recipe):
    recipe = make_recipe()
    cases, data = cases_of(recipe)
    carry_out([(cases[1], Fit(CrossEntropy(), data[1], 1.5, SGD))], 3)
    network, _ = by_hand(recipe, 1, 1.5, 1, PLACE - 3)
    other, _ = by_hand(recipe, 1, 1.5, 1)
    found = cases[1].student.state_dict()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())
    assert not torch.equal(found["0.1.weight"], other.state_dict()["0.1.weight"])


@pytest.mark.parametrize("optimiser", [SGD, ADAM], ids=["sgd", "adam"])
def test_no_epochs_leave_the_network(recipe, optimiser):
    start, _ = cases_of(recipe)
    for before, case in zip(start, fitted(recipe, epochs=0, optimiser=optimiser), strict=True):
        assert as_bytes(before) == as_bytes(case)
        assert case.meter == Meter()


def test_every_step_is_told(recipe):
    cases, data = cases_of(recipe)
    seen = []
    fit = Fit(CrossEntropy(), data[1], 2, SGD)
    carry_out([(cases[1], fit)], 0, lambda *step: seen.append(step))
    assert seen == [(-1, step) for step in range(2 * ceil(19 / 4))]
    assert as_bytes(cases[1]) == as_bytes(fitted(recipe, [1], epochs=2)[0])


def test_nobody_to_train():
    carry_out([], 0)


# What stops it, and what it leaves alone


def test_it_stops_after_the_pass_that_is_enough(recipe):
    seen = []

    def enough(student, passes):
        assert not student.training
        seen.append((passes, student.state_dict()["1.1.weight"].clone()))
        return passes == 2

    (case,) = fitted(recipe, [1], epochs=5, stop=enough)
    (two,) = fitted(recipe, [1], epochs=2)
    assert [passes for passes, _ in seen] == [1, 2]
    assert not torch.equal(seen[0][1], seen[1][1])
    assert as_bytes(case) == as_bytes(two)
    assert case.meter == two.meter
    (whole,) = fitted(recipe, [1], epochs=2.5, stop=lambda *_: False)
    assert as_bytes(whole) == as_bytes(fitted(recipe, [1], epochs=2.5)[0])


def test_weights_outside_the_mask_stay_bit_for_bit(recipe):
    """Momentum and weight decay move weights that have no gradient; masks stop them, too."""
    start = cases_of(recipe)[0][1].student.state_dict()
    name = "1.1.weight"
    mask = torch.zeros_like(start[name], dtype=torch.bool)
    mask[::2, 1] = True
    (case,) = fitted(recipe, [1], only={name: mask})
    found = case.student.state_dict()
    for other, value in start.items():
        if other != name:
            assert torch.equal(found[other], value), other
    assert torch.equal(found[name][~mask], start[name][~mask])
    assert (found[name][mask] != start[name][mask]).all()


def test_a_mask_of_everything_is_no_mask(make_recipe):
    recipe = make_recipe(normalize="standard")
    student = cases_of(recipe)[0][1].student
    full = {name: torch.ones_like(p, dtype=torch.bool) for name, p in student.named_parameters()}
    assert as_bytes(fitted(recipe, [1], only=full)[0]) == as_bytes(fitted(recipe, [1])[0])


# What objectives see


def test_objectives_see_their_records_labels_and_targets(make_recipe):
    """An objective that writes down what it is given, against the records themselves."""
    recipe = make_recipe()
    cases, data = cases_of(recipe)
    seen = {}

    def noting(student, batch):
        for row in range(len(batch)):
            key = batch.inputs[row].numpy().tobytes()
            seen[key] = (
                int(batch.labels[row]),
                bool(batch.forgotten[row]),
                batch.targets["t"][row],
            )
        return student(batch.inputs).sum()

    for number in (1, 2):
        seen.clear()
        records = data[number].with_targets(t=data[number].inputs[:, :2] * 3)
        carry_out([(cases[number], Fit(noting, records, 1, SGD))], 0)
        assert len(seen) == len(records)
        for row in range(len(records)):
            label, forgotten, target = seen[records.inputs[row].numpy().tobytes()]
            assert label == records.labels[row]
            assert forgotten == records.forgotten[row]
            assert torch.equal(target, records.inputs[row, :2] * 3)


def test_targets_of_several_cases_are_not_mixed_up(recipe):
    """Equal words, other teachers: each student nears its own."""
    cases, data = cases_of(recipe)
    fits = []
    for number, records in enumerate(data):
        wanted = torch.full((len(records), 3), -4.0)
        wanted[:, number % 3] = 4.0
        taught = records.with_targets(wanted=wanted)
        fits.append(Fit(Distillation("wanted"), taught, 60, ADAM))
    assert all(fits[0].may_share_steps_with(fit) for fit in fits)
    carry_out(list(zip(cases, fits, strict=True)), 0)
    for number, (case, records) in enumerate(zip(cases, data, strict=True)):
        predicted = records.through(case.student).argmax(dim=1)
        assert (predicted == number % 3).float().mean() > 0.9


def test_vmapped_fits_are_those_of_one_after_another(make_recipe):
    """Pools on a GPU carry out any objective under `vmap`; here in float32 on a CPU."""
    recipe = make_recipe()
    pooled = replace(recipe, engine="vmap", independent=False)
    for objective in (CrossEntropy(-1.0), Distillation("wanted", 2.0)):
        apart, at_once = (fitted(one, objective=objective) for one in (recipe, pooled))
        for one, other in zip(apart, at_once, strict=True):
            assert one.meter == other.meter
            for name, value in one.student.state_dict().items():
                found = other.student.state_dict()[name]
                assert torch.allclose(found, value, rtol=1e-4, atol=1e-5), name


def test_words_that_differ_are_not_shared(make_recipe):
    _, data = cases_of(make_recipe())
    fit = Fit(CrossEntropy(), data[0], 1, SGD)
    assert fit.may_share_steps_with(replace(fit, data=data[1]))
    taught = data[1].with_targets(t=data[1].inputs)
    for other in (
        replace(fit, objective=CrossEntropy(2.0)),
        replace(fit, epochs=2),
        replace(fit, optimiser=ADAM),
        replace(fit, statistics="moving"),
        replace(fit, stop=lambda *_: True),
        replace(fit, only={}),
        replace(fit, data=taught),
    ):
        assert not fit.may_share_steps_with(other)
        assert not other.may_share_steps_with(fit)


@pytest.mark.parametrize("name", ["ascent", "finetune"])
def test_of_many_that_diverge_nothing_is_stored(lab, records, mask_of, name):
    space = lab.space(records, unlearn={name: {"learning_rate": 1e38}})
    parents = [lab.build(space.with_seed(seed)) for seed in (0, 4)]
    forget, method, work = mask_of(records, 3, 4, 30, 41), METHODS[name], []
    for seed, parent in zip((0, 4), parents, strict=True):
        view = View("b1", parent, method.needs, space.with_seed(seed), ~forget, forget)
        work += [(view, job) for job in jobs_of(method, view)]
    before = {path.name for path in space.store.root.rglob("*.safetensors")}
    with pytest.raises(VerdictError, match="lower the method's learning_rate"):
        method.run_many(work)
    assert {path.name for path in space.store.root.rglob("*.safetensors")} == before
