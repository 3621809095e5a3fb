"""Stop the project's Prefect server: `python -m tools.stop`."""

import sys

from flows.runtime import stop_server
from forgetflow.config.project import Project

if __name__ == "__main__":
    stopped = stop_server(Project.find())
    sys.stdout.write("Prefect server stopped\n" if stopped else "no Prefect server was running\n")
