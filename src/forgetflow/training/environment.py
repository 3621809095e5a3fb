"""The numeric environment: what besides data and settings decides the bits of a model.

Byte equality is promised within one environment and never across two, so the fingerprint is
part of every content key. Sources of difference measured or documented elsewhere: the intra-op
thread count, MKL's code path, the CPU's vector width, the device, the torch build.
"""

import os
import sys
from typing import Any, Literal

import torch

from forgetflow.errors import InputError
from forgetflow.training.pinned import PINNED


def activate(device: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """Make torch deterministic in this process and return the device to compute on.

    One intra-op thread: bits depend on the count, and with another process on a core
    multi-threaded training collapses. Parallelism comes from tasks, not from threads inside one.

    Raises:
        InputError: `cuda` was asked for and there is none.
    """
    torch.set_num_threads(1)
    # The same switch as `use_deterministic_algorithms(True)`, without importing the compiler.
    torch.set_deterministic_debug_mode("error")
    # It would also write to all memory that torch allocates, which costs time and changes no bit of
    # a program that never reads what nobody wrote.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("run.device is cuda but torch sees no GPU; use auto or cpu")
    use_gpu = device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_gpu else "cpu")


def fingerprint(device: torch.device) -> dict[str, Any]:
    """Return the numeric environment of `device` after `activate`, JSON-ready."""
    common = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    if device.type == "cuda":
        return common | {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "cublas_workspace": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        }
    return common | {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "mkl_cbwr": os.environ.get("MKL_CBWR"),
    }


def is_pinned() -> bool:
    """Return whether the library variables have the values this project recommends."""
    return all(os.environ.get(name) == value for name, value in PINNED.items())
