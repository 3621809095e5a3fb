"""The deletion flow as a deployment: started by hand, on a schedule, or by an event.

Run `python -m flows.serve` and leave it running. Sealing a batch emits the event
`deletion.batch.sealed` for the resource `deletion-batch.<batch>`. Events that come together may
be delivered as one, so the triggered flow looks for waiting batches itself instead of trusting
the payload.
"""

from flows.events import SEALED
from flows.runtime import ensure_server
from forgetflow.config.project import Project

DEPLOYMENT = "on-sealed-batch"


def serve() -> None:
    """Serve the deletion flow until interrupted."""
    ensure_server(Project.find())
    from prefect.events import DeploymentEventTrigger

    from flows.forget import deletion

    deletion.serve(
        name=DEPLOYMENT,
        description="Unlearn, evaluate and publish every batch that waits.",
        tags=["forgetflow"],
        triggers=[
            DeploymentEventTrigger(
                name="a deletion batch was sealed",
                expect={SEALED},
                match={"prefect.resource.id": "deletion-batch.*"},
            )
        ],
        limit=1,
    )


if __name__ == "__main__":
    serve()
