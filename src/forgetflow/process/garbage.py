"""Python's garbage collector in a process that does one thing and ends.

torch, Prefect and MLflow bring some million objects that live until the end. With Python's own
settings the collector walks them again and again while they are imported, and twice more while
the process ends: nearly half of the processor time of a short command.
"""

import atexit
import gc

OBJECTS = 100_000
"""New containers (net of freed ones) before the collector looks for cycles; Python's own is 700."""


def collect_rarely() -> None:
    """Let the collector look for cycles rarely, and not at all while the process ends.

    For programs, not for libraries: it changes the whole process. Memory that cycles hold is
    freed later, and that is little: no training leaves a tensor in a cycle. What Python and
    libraries do at exit (`atexit`, flushing, locks) still happens.
    """
    gc.set_threshold(OBJECTS)
    atexit.register(gc.freeze)
