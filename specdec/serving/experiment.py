"""Serving as the command line describes it: loads, controllers and a server by names and files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rtnerf.base.errors import require
from specdec.cost.hardware import hardware_of
from specdec.cost.models import model_of
from specdec.cost.pass_time import Constant, Linear, PassTime
from specdec.cost.predict import read_step_times
from specdec.cost.roofline import Roofline
from specdec.serving.controllers import controller
from specdec.serving.server import PassesAt, Server
from specdec.serving.sweep import Load, sweep
from specdec.serving.workload import Requests, closed_loop, poisson, read_trace

TARGET = "llama-2-7b"
"""Unless another or its step times are given."""

DRAFT_MS = 1.0
"""Of a draft's pass unless given: an assumption, about a tenth of that target's pass on an A100."""


def serve(
    controllers: Sequence[str],
    rate: Sequence[float] | None = None,
    clients: Sequence[float] | None = None,
    trace: Path | None = None,
    requests: int = 4000,
    prompt: float = 128,
    output: float = 128,
    acceptance: float = 0.7,
    deviation: float = 0.1,
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
    progress: Callable[[int, int], None] = lambda done, parts: None,
    **server: Any,
) -> list[dict[str, Any]]:
    """Serve requests with controllers; the options are those of ``rtnerf specdec serve``, the results those of `sweep`.

    Raises
    ------
    InputError
        If the load is not given exactly once, or an option is out of range.
    """
    given = [name for name, value in (("rate", rate), ("clients", clients), ("trace", trace)) if value is not None]
    require(len(given) == 1, "load", "given once, by rate, clients or trace", " and ".join(given) or "missing")
    chosen = [controller(name) for name in dict.fromkeys(controllers)]
    what = Requests(prompt, output, acceptance, deviation)
    if rate is not None:
        loads = [Load(one, partial(poisson, one, requests, what, seed)) for one in rate]
    elif clients is not None:
        counts = sorted({round(one) for one in clients})
        loads = [Load(one, partial(closed_loop, one, requests, what, seed)) for one in counts]
    elif trace is not None:
        # Read here as well: what is wrong with the file is said before the long work, and not by a worker.
        read_trace(trace, what, seed)
        loads = [Load(0, partial(read_trace, trace.resolve(), what, seed))]
    return sweep(server_of(**server), chosen, loads, seed, workers, scheduler, progress)


def server_of(
    step_times: Path | None = None,
    target: str | Path | None = None,
    hardware: str | Path = "a100-80g",
    draft_ms: float | None = None,
    draft: str | Path | None = None,
    **limits: Any,
) -> Server:
    """Return the server: the target by its step times or model, the draft by its time or model; limits as for `Server`.

    Raises
    ------
    InputError
        If a model is described twice; and as what reads them.
    """
    require(step_times is None or target is None, "target", "given by step times or by name", "both")
    require(draft_ms is None or draft is None, "draft", "given by its time or by name", "both")
    if step_times is not None:
        measured = read_step_times(step_times)
        target_passes: PassesAt = measured.at if isinstance(measured, Linear) else partial(_always, measured)
    else:
        target_passes = partial(Roofline, model_of(target or TARGET), hardware_of(hardware))
    if draft is not None:
        draft_passes: PassesAt = partial(Roofline, model_of(draft), hardware_of(hardware))
    else:
        draft_passes = partial(_always, Constant(DRAFT_MS if draft_ms is None else draft_ms))
    return Server(target_passes, draft_passes, **limits)


def _always(passes: PassTime, _context: int) -> PassTime:
    """Return passes that do not depend on the context."""
    return passes
