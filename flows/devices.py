"""Computing slots: two flows never fight for one card.

A slot is held twice. The OS lock is the guard on this machine and is freed by the kernel when a
process is killed. The Prefect concurrency limit `gpu` is what people see and what other machines
respect; a killed process keeps its lease for up to a minute there, so leases that no OS lock
backs are cleared when a flow starts.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

import httpx
import torch
from filelock import FileLock, Timeout
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from forgetflow.project import Project

LIMIT = "gpu"
LEASE_SECONDS = 60.0
POLL_SECONDS = 0.05


def slots(project: Project) -> int:
    """Return how many computing tasks may run at once: one per GPU, else `run.workers`."""
    run = project.settings.run
    if run.device != "cpu" and torch.cuda.is_available():
        return torch.cuda.device_count()
    return run.workers


def open_slots(project: Project) -> None:
    """Create the limit, and free what a killed process left occupied."""
    count = slots(project)
    with get_client(sync_client=True) as client, ExitStack() as held:
        client.upsert_global_concurrency_limit_by_name(LIMIT, count)
        try:
            for number in range(count):
                held.enter_context(_lock(project, number).acquire(timeout=0))
        except Timeout:
            return  # somebody is computing: the lease is theirs
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))


@contextmanager
def device_slot(project: Project) -> Iterator[int]:
    """Hold one computing slot; yields its number. Waits until one is free."""
    with _os_slot(project) as number, get_client(sync_client=True) as client:
        lease = _acquire(client)
        done = threading.Event()
        renewal = threading.Thread(target=_renew, args=(client, lease, done), daemon=True)
        renewal.start()
        try:
            yield number
        finally:
            done.set()
            renewal.join()
            client.release_concurrency_slots_with_lease(lease)


@contextmanager
def _os_slot(project: Project) -> Iterator[int]:
    while True:
        for number in range(slots(project)):
            lock = _lock(project, number)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield number
            finally:
                lock.release()
            return
        time.sleep(POLL_SECONDS)


def _acquire(client: SyncPrefectClient) -> UUID:
    while True:
        try:
            reply = client.increment_concurrency_slots_with_lease(
                names=[LIMIT], slots=1, mode="concurrency", lease_duration=LEASE_SECONDS
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.LOCKED:
                raise
            time.sleep(POLL_SECONDS)  # another machine holds it
            continue
        return UUID(str(reply.json()["lease_id"]))


def _renew(client: SyncPrefectClient, lease: UUID, done: threading.Event) -> None:
    while not done.wait(LEASE_SECONDS / 3):
        client.renew_concurrency_lease(lease_id=lease, lease_duration=LEASE_SECONDS)


def _lock(project: Project, number: int) -> FileLock:
    folder = project.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"device-{number}.lock")
