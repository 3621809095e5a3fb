"""What training shards costs by the procedure that SISA was published with; our own stand-in.

Per shard one Python process; per epoch the shard's batches are cut from an index file, records
asked to be forgotten are taken out of each batch, and the batch is read from disk; every epoch
leaves a state file and a file with the time spent, and removes those of the epoch before.
Network 600-128-2 with tanh, SGD without momentum.

Source for the procedure: Bourtoule et al., "Machine Unlearning", IEEE S&P 2021, and the published
implementation's defaults (batch 16, rate 0.001, 20 epochs, a state file every epoch). Nothing is
learned from here: it is run by `sisa.py` as the thing to compare with.

    python benchmarks/process_per_shard.py FOLDER SHARD EPOCHS BATCH RATE mapped|whole

FOLDER holds x.npy float32 (N, 600), x_whole.npy (the same as int64), y.npy (N,), shards.npy
(S, records of a shard) and requests.npy (any). `mapped` leaves the records on disk and reads
batches from a memory map. `whole` reads all records into memory and converts them, as the
published loader of Purchase does in every process.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn


def main() -> None:
    """Train one shard and leave its state files."""
    folder, shard = Path(sys.argv[1]), int(sys.argv[2])
    epochs, batch, rate = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
    if sys.argv[6] == "whole":
        x = np.load(folder / "x_whole.npy").astype(np.float32)
        y = np.load(folder / "y.npy").astype(np.int64)
    else:
        x = np.load(folder / "x.npy", mmap_mode="r")
        y = np.load(folder / "y.npy", mmap_mode="r")
    torch.manual_seed(shard)
    network = nn.Sequential(nn.Linear(x.shape[1], 128), nn.Tanh(), nn.Linear(128, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    cost = nn.CrossEntropyLoss()
    states = folder / "states"
    states.mkdir(exist_ok=True)
    trained = 0.0
    for epoch in range(epochs):
        own = np.load(folder / "shards.npy")[shard]
        forgotten = np.load(folder / "requests.npy")
        for first in range(0, len(own), batch):
            rows = np.setdiff1d(own[first : first + batch], forgotten)
            inputs = torch.from_numpy(np.asarray(x[rows], np.float32))
            targets = torch.from_numpy(np.asarray(y[rows], np.int64))
            started = time.perf_counter()
            optimizer.zero_grad()
            cost(network(inputs), targets).backward()
            optimizer.step()
            trained += time.perf_counter() - started
        torch.save(network.state_dict(), states / f"{shard}_{epoch}.pt")
        (states / f"{shard}_{epoch}.time").write_text(f"{trained}\n")
        for suffix in ("pt", "time"):
            (states / f"{shard}_{epoch - 1}.{suffix}").unlink(missing_ok=True)
    torch.save(network.state_dict(), states / f"{shard}.pt")
    print(trained)


if __name__ == "__main__":
    main()
