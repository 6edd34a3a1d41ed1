"""Where many tasks run: in this process, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, as_completed
from contextlib import contextmanager
from typing import TypeVar

from rtnerf.base.errors import InputError
from rtnerf.base.processes import worker_pool

SCHEDULER_SECONDS = 5
"""To wait for a scheduler's answer."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def executor(workers: int = 1, scheduler: str | None = None) -> Iterator[Executor | None]:
    """What runs tasks; None: this process does.

    Parameters
    ----------
    workers : int
        Processes on this machine; 1 for this one.
    scheduler : str, optional
        Address of a Dask scheduler whose workers are used instead. The tasks of a worker that ends go to others.

    Raises
    ------
    InputError
        The scheduler does not answer; or workers end over their tasks.
    """
    if scheduler is not None:
        with _cluster(scheduler) as found:
            yield found
    elif workers > 1:
        try:
            with worker_pool(workers) as found:
                yield found
        except BrokenExecutor:
            raise _ended("workers") from None
    else:
        yield None


@contextmanager
def _cluster(scheduler: str) -> Iterator[Executor]:
    from distributed import Client
    from distributed.scheduler import KilledWorker

    # Its own lines about what it tries would bury ours.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(scheduler, timeout=SCHEDULER_SECONDS)
    except (OSError, ValueError, TypeError):
        raise InputError(f"scheduler must be the address of one that answers, not {scheduler}") from None
    with client:
        try:
            with client.get_executor(pure=False) as found:
                yield found
        except (KilledWorker, CancelledError):
            raise _ended("workers of the scheduler") from None


def run_all(
    where: Executor | None, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result]]:
    """Yield (task, result) of each task in the order in which they end."""
    if where is None:
        yield from ((task, function(task)) for task in tasks)
        return
    running: dict[Future[Result], Task] = {where.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(running):
            yield running[future], future.result()
    finally:
        for future in running:
            future.cancel()


def _ended(name: str) -> InputError:
    return InputError(f"{name} must last as long as their tasks, not end over them (have they memory enough?)")
