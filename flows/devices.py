"""Computing slots: two flows never fight for one card.

A slot is held twice. The OS lock is the guard on this machine and is freed by the kernel when a
process is killed. The Prefect concurrency limit `gpu` is what people see and what other machines
respect; a killed process keeps its lease for up to a minute there, so leases that no OS lock
backs are cleared when a flow starts.

The limit is spoken to over HTTP directly: inside a flow, Prefect's own client answers a busy
moment of the server by waiting about two seconds, longer than a small shard trains.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import httpx
import torch
from filelock import FileLock, Timeout
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.settings import PREFECT_API_URL, get_current_settings

from flows.runtime import running_server
from forgetflow.config.project import Project

LIMIT = "gpu"
LEASE_SECONDS = 60.0
POLL_SECONDS = 0.05
BROKEN_CONNECTIONS = 5
BUSY = {httpx.codes.LOCKED, httpx.codes.SERVICE_UNAVAILABLE}


def slots(project: Project) -> int:
    """Return how many computing tasks may run at once: one per GPU, else `run.workers`."""
    return torch.cuda.device_count() if uses_gpu(project) else project.settings.run.workers


def uses_gpu(project: Project) -> bool:
    """Return whether this project computes on a GPU here."""
    return project.settings.run.device != "cpu" and torch.cuda.is_available()


def open_slots(project: Project) -> None:
    """Create the limit, and free what a killed process left occupied."""
    count = slots(project)
    with get_client(sync_client=True) as client, ExitStack() as held:
        client.upsert_global_concurrency_limit_by_name(LIMIT, count)
        if PREFECT_API_URL.value() != running_server(project):
            return  # a server shared with others: their leases are not ours to clear
        try:
            for number in range(count):
                held.enter_context(_lock(project, number).acquire(timeout=0))
        except Timeout:
            return  # somebody is computing: the lease is theirs
        client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))


@contextmanager
def device_slot(project: Project) -> Iterator[int]:
    """Hold one computing slot, on GPUs that card; yields its number. Waits until one is free.

    Raises:
        httpx.HTTPStatusError: the limit does not exist (`open_slots` makes it) or is refused.
    """
    with _os_slot(project) as number, _api() as api:
        lease = _post(
            api,
            "/v2/concurrency_limits/increment-with-lease",
            {"names": [LIMIT], "slots": 1, "lease_duration": LEASE_SECONDS},
        ).json()
        if not lease["limits"]:
            raise RuntimeError(f"there is no concurrency limit '{LIMIT}': open_slots makes it")
        done = threading.Event()
        renewal = threading.Thread(target=_renew, args=(api, lease["lease_id"], done), daemon=True)
        renewal.start()
        try:
            with torch.cuda.device(number) if uses_gpu(project) else nullcontext():
                yield number
        finally:
            done.set()
            renewal.join()
            _post(
                api,
                "/v2/concurrency_limits/decrement-with-lease",
                {"lease_id": lease["lease_id"]},
            )


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


def _api() -> httpx.Client:
    settings = get_current_settings().api
    headers = {}
    if settings.key:
        headers["Authorization"] = f"Bearer {settings.key.get_secret_value()}"
    auth = None
    if settings.auth_string:
        user, _, password = settings.auth_string.get_secret_value().partition(":")
        auth = (user, password)
    url = PREFECT_API_URL.value() or ""
    # Loading certificates takes longer than asking for a slot, and loopback has none.
    secure = url.startswith("https")
    return httpx.Client(base_url=url, headers=headers, auth=auth, verify=secure)


def _post(api: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    """Send a request, again while another machine holds the slot or the server is busy.

    A server closes connections that were idle while we computed; that is tried anew, a few times.
    """
    broken = 0
    while True:
        try:
            reply = api.post(path, json=body)
        except httpx.TransportError:
            broken += 1
            if broken > BROKEN_CONNECTIONS:
                raise
        else:
            if reply.status_code not in BUSY:
                return reply.raise_for_status()
        time.sleep(POLL_SECONDS)


def _renew(api: httpx.Client, lease: str, done: threading.Event) -> None:
    while not done.wait(LEASE_SECONDS / 3):
        _post(
            api,
            f"/v2/concurrency_limits/leases/{lease}/renew",
            {"lease_duration": LEASE_SECONDS},
        )


def _lock(project: Project, number: int) -> FileLock:
    folder = project.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"device-{number}.lock")
