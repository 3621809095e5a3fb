"""Read an audit: what tells a model that forgot from one that never knew?

    python examples/read_an_audit.py

Two methods beside doing nothing, on pools of a few models each: more members, narrower intervals.
"""

import tempfile

import forgetflow

pipeline = forgetflow.Pipeline.create(
    f"{tempfile.mkdtemp()}/digits", partition={"method": "monolith"}, train={"epochs": 15}
)
pipeline.build()
pipeline.request(where='label == "8" and record_id < "digit-0600"')
batch = pipeline.seal()
pipeline.forget(batch)

audit = pipeline.audit(batch, methods=["sisa", "bad_teacher"], members=6)
print(f"{audit.records['forget']} records forgotten, {audit.members['oracle']} oracles")
print(f"{'':14} {'U-LiRA':>7} {'test accuracy':>14} {'record passes':>14}")
for contender in ("second oracle", "sisa", "bad_teacher", "none"):
    attack = audit.estimate("ulira", contender, "forget", "accuracy")
    right = audit.estimate("performance", contender, "test", "accuracy")
    cost = audit.costs[contender]["samples"]
    print(f"{contender:14} {attack.value:7.3f} {right.value:14.3f} {cost:14,.0f}")
for control in audit.controls:
    print(f"control {control.contender}: {control.outcome}")
