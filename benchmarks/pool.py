"""Models per second: pools of small networks, beside the loop everyone writes, in one run.

Prints models per second, processor time per model, the ratios of both to the DataLoader loop and
the share of a core's measured peak for

- the digits MLP 64-128-10 and a small CNN: DataLoader loop, in-memory loop, both engines, and
  warm one-thread processes;
- one shard of ten retrained after the deletion of one record, store on disk;
- pools of originals, oracles, second oracles and unlearned models of the digits, with KLoM, and
  the same again from the store.

Ways take turns. Of models per second the best of n rounds counts, because other load only ever
slows them down; of processor time, the median. On a busy machine read the latter: 1 over it is what
one idle core makes, and the share of the peak is taken from it.

    python benchmarks/pool.py [--quick] [--runs 5] [--device cuda]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import forgetflow  # noqa: F401  (first: it sets the environment torch reads when imported)

# isort: split
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from forgetflow.audit.context import AuditContext
from forgetflow.audit.klom import Klom
from forgetflow.config.data import DataSettings
from forgetflow.config.project import Project
from forgetflow.config.settings import Settings
from forgetflow.partition.assignment import write_assignment
from forgetflow.partition.registry import place
from forgetflow.pools.comparison import Comparison
from forgetflow.pools.pool import Untrained
from forgetflow.pools.workers import warm_workers
from forgetflow.records.ingest import ingest
from forgetflow.records.record_set import read_record_set
from forgetflow.records.sources.registry import import_records
from forgetflow.store.memory import MemoryStore
from forgetflow.store.store import Store
from forgetflow.training import trainer
from forgetflow.training.chain import Chain, Samples
from forgetflow.training.recipe import Recipe
from forgetflow.training.sequential import untrained, weights_of
from forgetflow.training.trainer import train_chain, train_chains
from forgetflow.training.work import peak_memory
from forgetflow.training.workspace import Workspace

PARAMS = Path(__file__).parents[1] / "params.yaml"
WORKERS = 2
BATCH, RATE, MOMENTUM = 64, 0.05, 0.9
CONTENDERS = ("original", "oracle", "second oracle", "sisa")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny numbers: does it run at all?")
    parser.add_argument("--runs", type=int, default=5, help="rounds of each measurement")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    runs = 1 if given.quick else given.runs
    print_environment(runs, given.device)
    cuda = given.device == "cuda"
    mlp = Task("mlp", 2 if given.quick else 20, 718, given.device)
    cnn = Task("lenet", 1 if given.quick else 2, 200 if given.quick else 1000, given.device)
    workers = None if cuda else started(WORKERS)
    peak = {1: peak_gflops("cuda")} if workers is None else measure_peak(workers)
    for task, bar in ((mlp, 100.0 if cuda else 20.0), (cnn, 1.0 if cuda else 1.8)):
        compare(task, ways_to_train(task, workers, given.quick), runs, peak, bar)
    if workers is not None:
        retrain_shard(2 if given.quick else 20)
        for method in ("monolith", "sisa"):
            judge_pools(workers, method, 4 if given.quick else 100)


# What is trained --------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One kind of model, of which member k learns from its own random records.

    Attributes:
        architecture: `mlp` on the digits, `lenet` on random 3 x 32 x 32 images.
        epochs: passes over a member's records.
        records: records of a member, out of about twice as many.
        device: where all ways compute.
    """

    architecture: str
    epochs: int
    records: int
    device: str

    def recipe(self, engine: str = "sequential", seed: int = 0) -> Recipe:
        """Return the recipe; puts torch into deterministic mode, with one thread."""
        return Recipe.from_settings(
            Settings.model_validate(
                {
                    "model": {"architecture": self.architecture, "hidden": [128]},
                    "train": {
                        "epochs": self.epochs,
                        "batch_size": BATCH,
                        "learning_rate": RATE,
                        "momentum": MOMENTUM,
                        "engine": engine,
                    },
                    "run": {"device": self.device, "seed": seed},
                }
            ),
            data_of(self.architecture)[0].inputs.shape[1:],
            10,
        )

    def rows(self, member: int) -> NDArray[np.intp]:
        """Return which records a member learns from."""
        whole = len(data_of(self.architecture)[0])
        return np.random.default_rng(member).choice(whole, self.records, replace=False)

    def samples(self, member: int) -> Samples:
        """Return the records of a member."""
        whole, where = data_of(self.architecture)[0], self.rows(member)
        return Samples(whole.inputs[where], whole.labels[where], whole.digests[where])

    def gflop(self) -> float:
        """Return the billions of operations that training one member needs."""
        network = untrained(self.recipe(), 0, 0)
        batch = torch.zeros(1, *data_of(self.architecture)[0].inputs.shape[1:])
        with FlopCounterMode(display=False) as counter:
            network(batch).sum().backward()
        return counter.get_total_flops() * self.records * self.epochs / 1e9

    def accuracy(self, weights: dict[str, Tensor]) -> float:
        """Return the share of held-out records that a trained network gets right."""
        network = untrained(self.recipe(), 0, 0)
        network.load_state_dict(weights)
        test = data_of(self.architecture)[1]
        with torch.inference_mode():
            found = network(torch.from_numpy(test.inputs)).argmax(dim=1).numpy()
        return float((found == test.labels).mean())


@cache
def data_of(architecture: str) -> tuple[Samples, Samples]:
    """Return records to learn from and to test on, read once per process."""
    if architecture == "mlp":
        imported = import_records(DataSettings(source="digits"))
        return tuple(
            Samples(part.inputs.copy(), part.labels.copy(), part.digests)
            for part in (imported.train, imported.test)
        )
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(10, 3, 32, 32))
    labels = rng.integers(10, size=2500)
    inputs = (centers[labels] + rng.normal(size=(2500, 3, 32, 32))).astype(np.float32)
    digests = rng.integers(256, size=(2500, 32), dtype=np.uint8)
    train, test = slice(2000), slice(2000, None)
    return tuple(Samples(inputs[part], labels[part], digests[part]) for part in (train, test))


# Ways to train it: each returns its CPU seconds and the weights of its first member -------

Done = tuple[float, dict[str, Tensor]]
Batches = Callable[[Tensor, Tensor, Tensor], Iterable[tuple[Tensor, Tensor]]]


def loaded(inputs: Tensor, targets: Tensor, rows: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Return a DataLoader over some of the records."""
    chosen = Subset(TensorDataset(inputs, targets), rows.tolist())
    return DataLoader(chosen, batch_size=BATCH, shuffle=True)


def indexed(inputs: Tensor, targets: Tensor, rows: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    """Yield batches of some of the records from where they lie."""
    for batch in rows[torch.randperm(len(rows), device=rows.device)].split(BATCH):
        yield inputs[batch], targets[batch]


def loop(task: Task, members: Sequence[int], batches: Batches, threads: int = 1) -> Done:
    """Train one after another with autograd and torch's optimizer, as people write it."""
    recipe, started, trained = task.recipe(), time.process_time(), []
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)
    whole = data_of(task.architecture)[0]
    inputs, targets = torch.from_numpy(whole.inputs), torch.from_numpy(whole.labels)
    where = task.device if batches is indexed else "cpu"
    inputs, targets = inputs.to(where), targets.to(where)
    for member in members:
        rows = torch.from_numpy(task.rows(member)).to(where)
        network = untrained(recipe, member, 0).to(task.device)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=RATE, momentum=MOMENTUM, fused=batches is indexed
        )
        for _ in range(task.epochs):
            for x, y in batches(inputs, targets, rows):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(x.to(task.device)), y.to(task.device))
                loss.backward()
                optimizer.step()
        trained.append(network.cpu().state_dict())
    task.recipe()  # one thread and determinism again
    return time.process_time() - started, trained[0]


def engine(task: Task, members: Sequence[int], name: str) -> Done:
    """Train as pools do: chains of one slice, finished states in memory."""
    started = time.process_time()
    recipes = [task.recipe(name, member).for_pools() for member in members]
    chains = [Chain(0, [task.samples(r.seed)], r.digest) for r in recipes]
    store = MemoryStore()
    train_chains(store, list(zip(chains, recipes, strict=True)))
    return time.process_time() - started, weights_of(store.require(chains[0].key))


def processes(task: Task, members: Sequence[int], name: str, workers: ProcessPoolExecutor) -> Done:
    """Train with an engine in warm worker processes, an equal share in each."""
    shares = [members[first::WORKERS] for first in range(WORKERS)]
    done = list(workers.map(engine, [task] * WORKERS, shares, [name] * WORKERS))
    return sum(seconds for seconds, _ in done), done[0][1]


# Comparing them ---------------------------------------------------------------------------


@dataclass
class Way:
    """A way to train members of a task.

    Attributes:
        name: as printed.
        train: trains the members of the numbers given.
        members: how many at once.
        cores: cores it may use; a share of their peak is printed.
        seconds, cpu: of each round.
        weights: of the first member of the last round.
    """

    name: str
    train: Callable[[Task, Sequence[int]], Done]
    members: int
    cores: int = 1
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def go(self, task: Task) -> None:
        """Train once and note what it took."""
        started = time.perf_counter()
        cpu, self.weights = self.train(task, range(self.members))
        self.seconds.append(time.perf_counter() - started)
        self.cpu.append(cpu)

    @property
    def rate(self) -> float:
        """Models per second in the best round."""
        return self.members / min(self.seconds)

    @property
    def cost(self) -> float:
        """Median processor seconds per model."""
        return statistics.median(self.cpu) / self.members


def ways_to_train(task: Task, workers: ProcessPoolExecutor | None, quick: bool) -> list[Way]:
    """Return the ways to compare, the DataLoader loop first."""
    sequential, stacked = partial(engine, name="sequential"), partial(engine, name="stacked")
    if workers is None:
        sizes = (16,) if quick else (16, 256, 2048)
        return [
            Way("DataLoader loop", partial(loop, batches=loaded), 2),
            Way("in-memory loop", partial(loop, batches=indexed), 2),
            Way("sequential", sequential, 2),
            *(Way(f"pool of {m}", partial(engine, name="auto"), m) for m in sizes),
        ]
    if task.architecture != "mlp":
        many = partial(processes, name="sequential", workers=workers)
        return [
            Way("DataLoader loop", partial(loop, batches=loaded), 2),
            Way("DataLoader loop, 2 threads", partial(loop, batches=loaded, threads=2), 2, 2),
            Way("in-memory loop", partial(loop, batches=indexed), 2),
            Way("sequential", sequential, 2),
            Way("sequential, 2 processes", many, 2 * WORKERS, WORKERS),
        ]
    size = 2 if quick else 3 * trainer.together(task.recipe("stacked"))
    many = partial(processes, name="stacked", workers=workers)
    return [
        Way("DataLoader loop", partial(loop, batches=loaded), 2),
        Way("in-memory loop", partial(loop, batches=indexed), 2),
        Way("sequential", sequential, 2),
        Way("stacked", stacked, size),
        Way("stacked, 2 processes", many, size * WORKERS, WORKERS),
    ]


def compare(
    task: Task, ways: Sequence[Way], runs: int, peak: Mapping[int, float], bar: float
) -> None:
    """Let ways take turns and print their rates.

    Args:
        task: what is trained.
        ways: the DataLoader loop first, the one that is meant to win last, on all cores.
        runs: rounds; another one before them counts for nothing.
        peak: cores -> GFLOP/s.
        bar: how many times as many models as a DataLoader loop the last should make.
    """
    for way in ways:
        way.train(task, range(2))
    for _ in range(runs):
        for way in ways:
            way.go(task)
    gflop, first, last = task.gflop(), ways[0], ways[-1]
    print(
        f"\n{task.architecture}, {task.records} records, {task.epochs} epochs, batch {BATCH}: "
        f"{gflop:.3f} GFLOP a model; load {os.getloadavg()[0]:.1f}\n{'way':28}{'models/s':>9}"
        f"{'x loop':>8}{'CPU ms/model':>14}{'x loop':>8}{'of peak':>9}{'accuracy':>10}"
    )
    for way in ways:
        share = gflop / way.cost / (peak[way.cores] / way.cores)
        print(
            f"{way.name:28}{way.rate:9.1f}{way.rate / first.rate:8.1f}{way.cost * 1e3:14.2f}"
            f"{first.cost / way.cost:8.1f}{share:9.0%}{task.accuracy(way.weights):10.3f}"
        )
    loops = [way for way in ways if way.name.startswith("DataLoader")]
    ratio = last.rate / max(way.rate for way in loops)
    say(f"{last.name}: {bar:g} x the best DataLoader loop", ratio, ratio >= bar, "x")
    if task.device == "cpu":
        need, ratio = bar * max(way.cores for way in loops) / last.cores, first.cost / last.cost
        say(f"per core, in processor time: {need:g} x", ratio, ratio >= need, "x")
    if task.architecture == "mlp" and task.device == "cpu":
        say("150 models/s", last.rate, last.rate >= 150, "models/s")
        share = gflop / ways[-2].cost / peak[1]
        say("40 % of a core's peak", share * 100, share >= 0.4, "%")


# One shard, and pools under judgement -----------------------------------------------------


def retrain_shard(deletions: int) -> None:
    """Time one shard of ten after the deletion of one record, and check the bytes."""
    settings = Settings.model_validate(
        {
            "partition": {"method": "sisa", "shards": 10, "slices": 4},
            "model": {"hidden": [128]},
            "train": {"epochs": 20, "batch_size": BATCH, "learning_rate": RATE},
            "run": {"device": "cpu"},
        }
    )
    records = import_records(DataSettings(source="digits")).train
    recipe = Recipe.from_settings(settings, records.schema.input_shape, 10)
    with tempfile.TemporaryDirectory(prefix="forgetflow-bench-") as folder:
        placed = place(records, settings.partition, 0)
        space = Workspace(settings, records, placed, recipe, Store(Path(folder)))
        members = np.flatnonzero(placed.shard == 0)
        train_chain(space.store, space.chain(0, space.everything), recipe)
        seconds, used = [], []
        for where in np.random.default_rng(0).choice(members, deletions, replace=False):
            keep = space.everything
            keep[where] = False
            started, cpu = time.perf_counter(), time.process_time()
            chain = space.chain(0, keep)
            receipt, _ = train_chain(space.store, chain, recipe)
            if not all(space.store.verify(key) for key in chain.keys):
                raise SystemExit("a state of the shard is damaged")
            seconds.append(time.perf_counter() - started)
            used.append(time.process_time() - cpu)
            other = MemoryStore()
            rebuilt, _ = train_chain(other, chain, recipe)
            if rebuilt.sha256 != receipt.sha256:
                raise SystemExit("the retrained shard is not what a build from nothing makes")
    median, busy = (statistics.median(s) * 1e3 for s in (seconds, used))
    print(
        f"\none shard of ten ({len(members)} records, 4 slices) without one record, store on disk, "
        "every state's bytes verified:\n"
        f"{median:.1f} ms, of which {busy:.1f} ms computing and the rest waiting for the disk "
        f"(median of {deletions}, {min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f});\n"
        "all equal to a build from nothing in another store, which is not in the time"
    )
    say("shard: 50 ms", median, median < 50, "ms")


def judge_pools(workers: ProcessPoolExecutor, method: str, members: int) -> None:
    """Time pools of the digits with the settings of `params.yaml`, and KLoM, twice."""
    with tempfile.TemporaryDirectory(prefix="forgetflow-bench-") as folder:
        project = Project(Path(folder))
        params = yaml.safe_load(PARAMS.read_text())
        params["partition"]["method"] = method
        params["run"]["device"] = "cpu"
        (project.root / "params.yaml").write_text(yaml.safe_dump(params))
        ingest(project)
        records, settings = read_record_set(project.train), project.settings
        placed = place(records, settings.partition, settings.run.seed)
        write_assignment(records, placed, project.partition / "assignment.parquet")
        print(
            f"\n{method}, settings of params.yaml: {members} of each of {', '.join(CONTENDERS)}; "
            f"50 of {len(records)} records forgotten; load {os.getloadavg()[0]:.1f}"
        )
        for what in ("first run", "again, from the store"):
            trained, judged, used, klom = train_and_judge(project.root, workers, members)
            shown = ", ".join(f"{name} {value:.2f}" for name, value in klom.items())
            print(
                f"{what:24}{trained + judged:8.2f} s: pools {trained:.2f} s (CPU {used:.2f} s), "
                f"KLoM {judged:.2f} s; p95 on the forget set: {shown}"
            )
            if what == "first run":
                say(f"{method}: 60 s", trained + judged, trained + judged < 60, "s")
        here, others = peak_here() / 2**20, max(workers.map(peak_here, range(WORKERS))) / 2**20
        print(f"{'peak memory':24}{others:8.0f} MiB in a worker, {here:.0f} MiB in this process")


def train_and_judge(
    root: Path, workers: ProcessPoolExecutor, members: int
) -> tuple[float, float, float, dict[str, float]]:
    """Return the seconds of training and judging, CPU seconds of training, and KLoM's p95."""
    started, used = time.perf_counter(), 0.0
    trial = trial_in(root)
    plans = {contender: trial.procedure(contender, members) for contender in CONTENDERS}
    for depth in sorted({plan.depth for plan in plans.values()}):
        jobs = [
            workers.submit(train_members, root, contender, members, group)
            for contender, plan in plans.items()
            if plan.depth == depth
            for group in plan.groups()
        ]
        used += sum(job.result() for job in jobs)
    trained = time.perf_counter()
    records = trial.space.records
    context = AuditContext(
        {contender: plan.pool() for contender, plan in plans.items()},
        {
            "retain": records.take(trial.retain),
            "forget": records.take(trial.forget),
            "test": read_record_set(Project(root).test),
        },
        Untrained(trial.space.recipe, [0]),
        trial.space.settings.evaluate.audit,
    )
    p95 = {
        one.contender: one.value
        for one in Klom().estimates(context)
        if (one.set, one.statistic) == ("forget", "p95") and one.value is not None
    }
    return trained - started, time.perf_counter() - trained, used, p95


def trial_in(root: Path) -> Comparison:
    """Return the trial of forgetting 50 records in a project."""
    project = Project(root)
    return Comparison.of_sample(project, Workspace.open(project), None, 50)


def train_members(root: Path, contender: str, count: int, members: Sequence[int]) -> float:
    """Make members of a pool; returns CPU seconds."""
    started = time.process_time()
    trial_in(root).procedure(contender, count).train(members)
    return time.process_time() - started


# The machine ------------------------------------------------------------------------------


def print_environment(runs: int, device: str) -> None:
    """Print hardware, versions and n."""
    chip = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if "model name" in line]
        chip = names[0].split(":")[1].strip() if names else chip
    if device == "cuda":
        chip = f"{torch.cuda.get_device_name()} beside {chip}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    print(
        f"{chip}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}; "
        f"Python {platform.python_version()}, {versions}; n={runs}"
    )


def started(count: int) -> ProcessPoolExecutor:
    """Return warm workers and print how long they took to start."""
    begun = time.perf_counter()
    workers = warm_workers(count)
    while len(set(workers.map(ready, range(4 * count)))) < count:
        pass
    print(f"{'start of ' + str(count) + ' workers, once':28}{time.perf_counter() - begun:9.1f} s")
    return workers


def ready(_: int) -> int:
    """Read the data; returns which process this is."""
    for architecture in ("mlp", "lenet"):
        data_of(architecture)
    time.sleep(0.05)
    return os.getpid()


def measure_peak(workers: ProcessPoolExecutor) -> dict[int, float]:
    """Print and return the GFLOP/s of a 2048 x 2048 product on one core and on all at once."""
    torch.set_num_threads(1)
    alone = peak_gflops()
    both = sum(workers.map(peak_gflops, ["cpu"] * WORKERS))
    print(
        f"sgemm of 2048^3, GFLOP/s: 1 thread {alone:.0f}, {WORKERS} processes {both:.0f}; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    return {1: alone, WORKERS: both}


def peak_gflops(device: str = "cpu") -> float:
    """Return the best of several float32 products; of a core, in processor time, on a CPU."""
    side, clock = (2048, time.process_time) if device == "cpu" else (8192, time.perf_counter)
    one, other = torch.rand(2, side, side, device=device)
    best = float("inf")
    for _ in range(8):
        started = clock()
        torch.mm(one, other)[0, 0].item()
        best = min(best, clock() - started)
    return 2 * side**3 / best / 1e9


def peak_here(_: int = 0) -> int:
    """Return this process's peak memory in bytes."""
    time.sleep(0.05)  # so that every worker gets one of these
    return peak_memory(torch.device("cpu"))


def say(what: str, value: float, met: bool, unit: str) -> None:
    """Print whether a bar is met."""
    print(f"bar, {what}: {value:.1f} {unit}, {'met' if met else 'not met'}")


if __name__ == "__main__":
    main()
