"""Forget a person: from a request to a model that never saw them, and the proof.

    python examples/forget_a_person.py [FOLDER]

Makes a project in FOLDER (default: a new temporary one) on scikit-learn's digits.
"""

import sys
import tempfile

import forgetflow

folder = sys.argv[1] if len(sys.argv) > 1 else f"{tempfile.mkdtemp()}/digits"
pipeline = forgetflow.Pipeline.create(folder, partition={"shards": 5, "slices": 3})

original = pipeline.build()
print(f"original: {original.records} records in {len(original.constituents)} constituents")

pipeline.request(subject="writer-007", reason="asked to be forgotten")
batch = pipeline.seal()

plan = pipeline.plan(batch)
print(f"{batch}: {plan.records} records to forget, due {plan.due_at:%Y-%m-%d}")
print(f"to retrain: {plan.retrain_samples:,} of {plan.full_samples:,} record passes")

card = pipeline.forget(batch)
print(f"forgotten by {card.method}, promise: {card.guarantee.value}")

verdict = pipeline.verify(batch)
print(f"{verdict.compared} constituents trained again from nothing: {verdict.passed=}")

test = pipeline.test
for one in pipeline.lineage():
    right = (pipeline.model(one.generation).predict(test.inputs) == test.labels).mean()
    print(f"{one.generation:10} {one.records} records, test accuracy {right:.3f}")
