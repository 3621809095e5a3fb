"""The event that says a batch is sealed: what starts the served deletion flow.

Its payload is the batch id and the manifest's digest, no personal data. It goes to the server's
HTTP API directly: sealing is quick, and importing Prefect is not.
"""

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from uuid import uuid4

SEALED = "deletion.batch.sealed"


def announce(api: str, batch: str, manifest: str) -> bool:
    """Emit the event; returns whether the server took it.

    Args:
        api: address of the Prefect API.
        batch: batch id.
        manifest: digest of the manifest.
    """
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": SEALED,
        "resource": {"prefect.resource.id": f"deletion-batch.{batch}"},
        "payload": {"batch": batch, "manifest": manifest},
    }
    request = urllib.request.Request(  # noqa: S310
        f"{api}/events",
        data=json.dumps([event]).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310
            return bool(reply.status < 300)
    except (urllib.error.URLError, OSError):
        return False
