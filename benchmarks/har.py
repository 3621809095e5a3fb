"""Features of UCI HAR windows, ready for `forgetflow data import npz`: 30 people, 6 activities.

Every feature is a function of its own window alone, so that deleting a person leaves nothing of
them in the others' features. The people of the official test set are tested on. Three of the
others are set aside as public reference, from whose rows a forest takes its thresholds; the
training set is the 18 that are left.

    FORGETFLOW_DATA=/data python benchmarks/har.py FOLDER      # har.npz and reference.npy
"""

import argparse
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PUBLIC = (1, 3, 5)
"""People whose windows are the public reference."""

WINDOW, BANDS = 128, 7
"""Samples in a window (50 Hz), and bands that its spectrum is summed over."""

Floats = NDArray[np.float64]


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    source = os.environ.get("FORGETFLOW_DATA")
    if not source:
        raise SystemExit("set FORGETFLOW_DATA to the folder that holds uci_har")
    with np.load(Path(source) / "uci_har" / "uci_har_inertial.npz") as archive:
        har = {name: archive[name] for name in archive.files}
    inputs = window_features(har["signal"][har["window_start"][:, None] + np.arange(WINDOW)])
    people, tested = har["subject"], har["official_test"].astype(bool)
    public = np.isin(people, PUBLIC)
    arrays: dict[str, Any] = {}
    for name, rows in (("train", ~tested & ~public), ("test", tested)):
        arrays[f"x_{name}"] = inputs[rows]
        arrays[f"y_{name}"] = har["activity_names"][har["activity"][rows] - 1]
        arrays[f"subject_{name}"] = np.array([f"person-{one:02d}" for one in people[rows]])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "har.npz", **arrays)
    np.save(folder / "reference.npy", inputs[public])
    print({name: array.shape for name, array in arrays.items() if name.startswith("x")})


def window_features(windows: NDArray[Any]) -> NDArray[np.float32]:
    """Return features of windows, float32 (N, F).

    Per channel: mean, deviation, least, quartiles, most, mean absolute step, and the logarithm of
    its energy in bands of doubling width. Per sensor: the same of its length, and the
    correlations between its axes.

    Args:
        windows: (N, 128, 9), three sensors of three axes each.
    """
    values = windows.astype(np.float64)
    sensors = values.reshape(len(values), WINDOW, 3, 3)
    channels = np.concatenate([values, np.linalg.norm(sensors, axis=3)], axis=2)
    found = [
        channels.mean(axis=1),
        channels.std(axis=1),
        *np.quantile(channels, [0, 0.25, 0.5, 0.75, 1], axis=1),
        np.abs(np.diff(channels, axis=1)).mean(axis=1),
        *_bands(channels),
        *_correlations(sensors),
    ]
    return np.concatenate(found, axis=1).astype(np.float32)


def _bands(channels: Floats) -> list[Floats]:
    power = np.abs(np.fft.rfft(channels - channels.mean(axis=1, keepdims=True), axis=1)) ** 2
    edges = [1, *(2**n + 1 for n in range(BANDS))]
    return [np.log10(power[:, a:b].sum(axis=1) + 1e-9) for a, b in pairwise(edges)]


def _correlations(sensors: Floats) -> list[Floats]:
    apart = sensors - sensors.mean(axis=1, keepdims=True)
    scaled = apart / (np.linalg.norm(apart, axis=1, keepdims=True) + 1e-9)
    return [(scaled[..., a] * scaled[..., b]).sum(axis=1) for a, b in ((0, 1), (0, 2), (1, 2))]


if __name__ == "__main__":
    main()
