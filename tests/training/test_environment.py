"""Bits depend on records and settings, not on who else computes, where, or what was set before."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch

from forgetflow.errors import InputError
from forgetflow.training import environment
from forgetflow.training.pinned import PINNED
from forgetflow.training.trainer import train_chain

ADAM = {"optimizer": "adam", "batch_size": 16, "epochs": 4, "learning_rate": 0.01}
KINDS = {
    "sequential": {
        "model": {"architecture": "lenet", "normalize": "standard"},
        "train": ADAM | {"engine": "sequential"},
    },
    "stacked": {
        "model": {"hidden": [128], "normalize": "standard"},
        "train": ADAM | {"engine": "stacked"},
    },
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def kind(request):
    """Settings that train with either engine."""
    return request.param


@pytest.fixture(scope="module")
def many(make_records):
    """Images, because convolutions have other bits with two threads than with one."""
    return make_records(160, shape=(1, 8, 8))


def built(space, state_bytes):
    chains = [space.chain(shard, space.everything) for shard in range(2)]
    for chain in chains:
        train_chain(space.store, chain, space.recipe)
    return [state_bytes(space.store, chain) for chain in chains]


@pytest.fixture(scope="module")
def expected(many, make_space, state_bytes, kind):
    torch.set_num_threads(1)
    return built(make_space(many, **kind), state_bytes)


def test_activating_makes_this_process_deterministic():
    torch.set_num_threads(2)
    torch.set_deterministic_debug_mode("default")
    torch.backends.cudnn.benchmark = True
    device = environment.activate("cpu")
    assert device == torch.device("cpu")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_refused():
    assert environment.activate("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="sees no GPU"):
        environment.activate("cuda")


def test_the_fingerprint_names_what_decides_bits(monkeypatch):
    device = environment.activate("cpu")
    found = environment.fingerprint(device)
    assert found["torch"] == torch.__version__
    assert (found["device"], found["threads"], found["deterministic"]) == ("cpu", 1, True)
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert environment.fingerprint(device) != found
    monkeypatch.undo()
    torch.set_num_threads(2)
    try:
        assert environment.fingerprint(device) == found | {"threads": 2}
    finally:
        environment.activate("cpu")


def test_importing_the_package_pins_the_numeric_libraries(monkeypatch):
    code = "import os, sys, forgetflow; print(*(os.environ[name] for name in sys.argv[1:]))"
    command = [sys.executable, "-c", code, *PINNED]
    clean = {"MKL_CBWR": None, "CUBLAS_WORKSPACE_CONFIG": None}
    for name in clean:
        monkeypatch.delenv(name, raising=False)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(PINNED.values())
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "COMPATIBLE", "what the user has set wins"
    assert not environment.is_pinned()
    for name, value in PINNED.items():
        monkeypatch.setenv(name, value)
    assert environment.is_pinned()


def test_a_thread_count_set_before_does_not_matter(many, make_space, state_bytes, expected, kind):
    torch.set_num_threads(2)
    assert built(make_space(many, **kind), state_bytes) == expected


def test_global_random_state_is_neither_read_nor_moved(
    many, make_space, state_bytes, expected, kind
):
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        assert built(make_space(many, **kind), state_bytes) == expected
        assert torch.equal(torch.get_rng_state(), before)


def test_shards_trained_at_once_have_the_bytes_of_one_after_another(
    many, make_space, state_bytes, expected, kind
):
    space = make_space(many, **kind)
    chains = [space.chain(shard, space.everything) for shard in range(2)]
    together = Barrier(2, timeout=60)

    def train(shard):
        steps = iter(range(20))

        def told(*_):
            if next(steps, None) is not None:  # neither gets ahead during the first steps
                together.wait()

        return train_chain(space.store, chains[shard], space.recipe, told)[1].steps

    with ThreadPoolExecutor(2) as pool:
        assert min(pool.map(train, range(2))) > 20
    assert [state_bytes(space.store, chain) for chain in chains] == expected


SCRIPT = """
import sys, pathlib
from forgetflow.config.project import Project
from forgetflow.training.trainer import train_chain
from forgetflow.training.workspace import Workspace

space = Workspace.open(Project(pathlib.Path(sys.argv[1])))
for shard in (1, 0):
    train_chain(space.store, space.chain(shard, space.everything), space.recipe)
"""


def test_a_fresh_process_makes_the_same_bytes(
    many, make_space, make_project, state_bytes, expected, kind
):
    space = make_space(many, **kind)
    project = make_project(space)
    command = [sys.executable, "-c", SCRIPT, str(project.root)]
    subprocess.run(command, capture_output=True, text=True, check=True)
    for shard in range(2):
        chain = space.chain(shard, space.everything)
        assert state_bytes(type(space.store)(project.store), chain) == expected[shard]
