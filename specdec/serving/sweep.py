"""Controllers against loads: simulations side by side, in this process, on other cores or on a Dask cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rtnerf.base.executors import executor
from specdec.serving.controllers import Controller
from specdec.serving.engine import serve
from specdec.serving.server import Server
from specdec.serving.tables import Tables, tables
from specdec.serving.workload import Workload

PUBLISHED_GAIN = 3.2
"""SmartSpec's abstract (arXiv 2406.14066): average latency up to so many times lower than without speculation."""


@dataclass(frozen=True)
class Load:
    """A workload that is made where it is served.

    Members
    -------
    value : float
        Requests a second, or clients; 0 for a trace.
    make : callable
        Returns the workload; it must be possible to pickle it.
    """

    value: float
    make: Callable[[], Workload]


def sweep(
    server: Server,
    controllers: Sequence[Controller],
    loads: Sequence[Load],
    seed: int,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] = lambda done, parts: None,
) -> list[dict[str, Any]]:
    """Serve every load with every controller; the results do not depend on where that is done.

    Parameters
    ----------
    seed : int
        Of what is accepted.
    workers : int
        Processes on this machine; 1 for this one.
    scheduler : str, optional
        Address of a Dask scheduler whose workers are used instead.
    progress : callable
        Called after each simulation with how many are done of how many.

    Returns
    -------
    list of dict
        ``controller``, ``load``, the figures of `Outcome.summary`, and ``latency_gain``: the mean latency of the
        controller ``off`` at the same load over this one's; None if that is not among the controllers.
    """
    cells = [(tables(server, one), load, seed) for one in controllers for load in loads]
    with executor(workers, scheduler) as where:
        figures = []
        for found in where.map(_cell, cells) if where else map(_cell, cells):
            figures.append(found)
            progress(len(figures), len(cells))
    runs = [
        {"controller": one.name, "load": load.value, **figures[row * len(loads) + column]}
        for row, one in enumerate(controllers)
        for column, load in enumerate(loads)
    ]
    plain = {run["load"]: run["latency_ms"]["mean"] for run in runs if run["controller"] == "off"}
    for run in runs:
        run["latency_gain"] = plain[run["load"]] / run["latency_ms"]["mean"] if plain else None
    return runs


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return the results as text."""
    columns = "{:18} {:>8} {:>10} {:>9} {:>8} {:>9} {:>7} {:>5} {:>9} {:>5}".format
    names = "controller", "load", "latency/ms", "p99", "first", "goodput", "drafted", "busy", "preempted", "gain"
    lines = [columns(*names)]
    for run in runs:
        lines.append(
            columns(
                run["controller"],
                f"{run['load']:.4g}",
                f"{run['latency_ms']['mean']:.1f}",
                f"{run['latency_ms']['p99']:.0f}",
                f"{run['first_token_ms']['mean']:.1f}",
                f"{run['goodput_tokens_per_s']:.1f}",
                f"{run['drafted']:.2f}",
                f"{run['utilisation']:.2f}",
                run["preemptions"],
                "" if run["latency_gain"] is None else f"{run['latency_gain']:.2f}",
            )
        )
    gains = [run["latency_gain"] for run in runs if run["latency_gain"] is not None and run["controller"] != "off"]
    if gains:
        lines.append(
            f"latency without speculation over latency with it: {min(gains):.2f} to {max(gains):.2f}"
            f" (SmartSpec's paper: up to {PUBLISHED_GAIN})"
        )
    return "\n".join(lines)


def _cell(cell: tuple[Tables, Load, int]) -> dict[str, Any]:
    prepared, load, seed = cell
    return serve(prepared, load.make(), seed).summary()
