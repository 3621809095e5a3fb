"""Thin Prefect wiring: what runs, in what order, cached under which key. No mathematics here.

    build     ingest -> partition -> shard training -> attribution -> evaluation -> registration
    deletion  unlearn -> evaluate -> gate -> publish -> report -> tell DVC
    stage     one step of the same chain, started by dvc.yaml
    serve     the deletion flow as a deployment, started by the event `deletion.batch.sealed`

Importing this package points Prefect at the project folder (its database, results and server
are local to the project), so import it before Prefect.
"""

from flows.runtime import configure

configure()
