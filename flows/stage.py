"""Entry point of every DVC stage: `python -m flows.stage NAME [GENERATION] [--method METHOD]`.

A stage runs the same flow that a person or an event triggers. It never calls DVC.
"""

import argparse
import sys
from collections.abc import Callable

from flows.runtime import ensure_server, without_heartbeats
from forgetflow.config.project import Project
from forgetflow.errors import ForgetflowError
from forgetflow.process.garbage import collect_rarely


def main(arguments: list[str]) -> int:
    """Run one stage; returns the exit code."""
    parser = argparse.ArgumentParser(prog="flows.stage", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("generation", nargs="?", default="original")
    parser.add_argument("--method", default="sisa")
    given = parser.parse_args(arguments)
    try:
        ensure_server(Project.find())
        with without_heartbeats():
            _run(given.name, given.generation, given.method)
    except ForgetflowError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _run(name: str, generation: str, method: str) -> None:
    # Prefect reads its settings when it is imported, so not before the server is known.
    from flows import build, evaluate, forget, report

    stages: dict[str, Callable[[], object]] = {
        "ingest": build.ingest,
        "partition": build.partition,
        "train": build.train,
        "attribute": lambda: build.attribute(generation),
        "forget": lambda: forget.unlearn(generation, method),
        "evaluate": lambda: evaluate.evaluate(generation),
        "report": report.report,
    }
    stages[name]()


if __name__ == "__main__":
    collect_rarely()
    sys.exit(main(sys.argv[1:]))
