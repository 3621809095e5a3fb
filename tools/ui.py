"""Both UIs on loopback: `make ui`. Ends with Ctrl-C; the Prefect server keeps running."""

import os
import socket
import subprocess
import sys

from flows.runtime import ensure_server
from forgetflow.config.project import Project
from forgetflow.lineage.view import model_link

MLFLOW_PORT = 5000


def main() -> int:
    """Start what is not running, print the addresses, wait."""
    project = Project.find()
    prefect = ensure_server(project).removesuffix("/api")
    port = free_port(MLFLOW_PORT)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", f"--port={port}"]
    command += ["--backend-store-uri", f"sqlite:///{project.root / 'mlflow.db'}"]
    command += ["--default-artifact-root", str(project.root / "mlartifacts"), "--workers", "1"]
    name = project.settings.lineage.model_name
    sys.stdout.write(
        f"\n  MLflow   http://127.0.0.1:{port}/{model_link(name)}   models, lineage, runs\n"
        f"  Prefect  {prefect}/runs   flows and cached tasks\n\n"
        "Ctrl-C ends MLflow; `make stop` ends Prefect.\n"
    )
    sys.stdout.flush()
    try:
        return subprocess.run(
            command, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, check=False
        ).returncode
    except KeyboardInterrupt:
        return 0


def free_port(wanted: int) -> int:
    """Return `wanted` if nobody listens there, else any free port."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
