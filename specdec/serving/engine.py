"""Continuous batching as a compiled loop over engine steps: a million requests in seconds.

The rules of a step are in `specdec.serving.reference`, where they are written for SimPy; both engines agree exactly.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rtnerf.base.compiled import allocating, compiled
from rtnerf.base.errors import require
from specdec.serving.controllers import Controller, believed, choose, step_time
from specdec.serving.ladder import CLASSES
from specdec.serving.outcome import Outcome
from specdec.serving.server import Server
from specdec.serving.workload import MILLISECOND, Workload

NEVER = np.iinfo(np.int64).max


class Tables(NamedTuple):
    """What the loop needs of the server and the controller, times in nanoseconds."""

    nodes: np.ndarray
    survival: np.ndarray
    expected: np.ndarray
    decoding: np.ndarray
    predicted: np.ndarray
    prefill: np.ndarray
    max_batch: int
    max_length: int
    blocks: int
    block: int
    prefill_tokens: int
    interval: int
    preference: float
    exhaustive: bool
    prior: int
    window: int


def tables(server: Server, controller: Controller) -> Tables:
    """Work out the tables of a server with a controller."""
    ladder = controller.ladder
    return Tables(
        ladder.nodes,
        ladder.survival,
        ladder.expected,
        server.decoding_ms(ladder) * MILLISECOND,
        controller.predicted_ms(server) * MILLISECOND,
        np.rint(server.prefill_ms(ladder) * MILLISECOND).astype(np.int64),
        server.max_batch,
        server.max_length,
        server.blocks,
        server.block,
        server.prefill_tokens,
        controller.interval,
        controller.preference,
        controller.exhaustive,
        round(controller.prior * (CLASSES - 1)),
        controller.window,
    )


def simulate(server: Server, controller: Controller, workload: Workload, seed: int) -> Outcome:
    """Serve all requests; ``seed`` draws what is accepted. Raises as `serve`."""
    return serve(tables(server, controller), workload, seed)


def serve(tables: Tables, workload: Workload, seed: int) -> Outcome:
    """Serve all requests from tables.

    Raises
    ------
    InputError
        If a request is longer than the server can hold.
    """
    longest = int((workload.prompt + workload.output).max())
    room = min(tables.max_length, tables.blocks * tables.block - int(tables.nodes.max()))
    require(longest <= room, "prompt and output", f"at most {room} tokens, which the server can hold", longest)
    arrival = workload.arrival.copy()
    if workload.clients:
        arrival[workload.clients :] = NEVER
    acceptance = np.rint(workload.acceptance * (CLASSES - 1)).astype(np.int64)
    rest = workload.prompt, workload.output, acceptance, workload.clients, tables
    first, finish, by_rung, busy, preemptions, peak = _interruptible(np.random.default_rng(seed), arrival, *rest)
    return Outcome(arrival, first, finish, workload.output, by_rung, tables.nodes, busy, preemptions, peak)


def _interruptible(*arguments: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
    """Run the loop in a thread of its own, so that this one hears Ctrl-C and can tell it to stop."""
    stop = np.zeros(1, np.bool_)
    with ThreadPoolExecutor(1) as executor:
        try:
            return executor.submit(partial(_run, *arguments, stop)).result()
        except BaseException:
            stop[0] = True
            raise


# ---- The loop ----


@allocating(nogil=True)
def _run(
    rng: np.random.Generator,
    arrival: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
    acceptance: np.ndarray,
    clients: int,
    tables: Tables,
    stop: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]:
    """Return first-token and finish times, requests' steps by rung, busy time, preemptions and the most blocks held.

    Another thread may set ``stop``, shape (1,), to have done with it; what is returned is then of no use.

    A request's length is that of its prompt and of what it has got; all but the last token are in the cache.
    One function, though long: admission, prefill, decoding and answers share nearly all of its state.
    """
    requests = len(arrival)
    length, full = prompt.copy(), prompt + output
    first, finish = np.full(requests, -1), np.full(requests, -1)
    by_rung = np.zeros(len(tables.nodes), np.int64)
    running, preempted = np.empty(tables.max_batch, np.int64), np.empty(tables.max_batch, np.int64)
    batch = put_off = arrived = finished = 0
    sent = clients if clients else requests
    clock = busy = steps = preemptions = peak = 0
    rung, believed_acceptance = 0, tables.prior
    average = tables.expected[0, believed_acceptance]

    while finished < requests and not stop[0]:
        if batch == 0 and put_off == 0 and arrival[arrived] > clock:
            clock = arrival[arrived]

        # Admit waiting requests while there is room, the preempted before the others.
        old = batch
        held = _blocks_of(running, batch, length, tables.nodes[rung] - 1, tables.block)
        tokens = 0
        while batch < tables.max_batch:
            if put_off:
                request = preempted[put_off - 1]
            elif arrived < requests and arrival[arrived] <= clock:
                request = arrived
            else:
                break
            needed = _blocks(length[request] + tables.nodes[rung], tables.block)
            if held + needed > tables.blocks or (tokens and tokens + length[request] > tables.prefill_tokens):
                break
            if put_off:
                put_off -= 1
            else:
                arrived += 1
            held += needed
            tokens += length[request]
            running[batch] = request
            batch += 1

        # Prefill those, or decode for all.
        if tokens:
            duration = tables.prefill[tokens]
            served = old
            for place in range(old, batch):
                request = running[place]
                length[request] += 1
                if first[request] < 0:
                    first[request] = clock + duration
        else:
            context = 0
            for place in range(batch):
                context += length[running[place]] - 1
            if steps % tables.interval == 0 and len(tables.nodes) > 1:
                if tables.nodes[rung] > 1:
                    believed_acceptance = believed(average, rung, tables.expected)
                chosen = choose(
                    batch,
                    context,
                    tables.max_length,
                    tables.blocks * tables.block,
                    believed_acceptance,
                    tables.nodes,
                    tables.expected,
                    tables.predicted,
                    tables.preference,
                    tables.exhaustive,
                )
                if chosen != rung:
                    rung = chosen
                    average = tables.expected[rung, believed_acceptance]
            steps += 1
            held = _blocks_of(running, batch, length, tables.nodes[rung] - 1, tables.block)
            while held > tables.blocks:
                batch -= 1
                request = running[batch]
                held -= _blocks(length[request] - 1 + tables.nodes[rung], tables.block)
                context -= length[request] - 1
                preempted[put_off] = request
                put_off += 1
                preemptions += 1
            peak = max(peak, held)
            duration = int(np.rint(step_time(tables.decoding, rung, batch, context, tables.max_length)))
            by_rung[rung] += batch
            served = gained = 0
            for place in range(batch):
                request = running[place]
                survival = tables.survival[acceptance[request], rung]
                luck = rng.random()
                tokens = 1
                while tokens <= len(survival) and luck < survival[tokens - 1]:
                    tokens += 1
                length[request] += tokens
                gained += tokens
            average += min(1.0, batch / tables.window) * (gained / batch - average)
        clock += duration
        busy += duration

        # Answer those that have got all, and keep the others in their order.
        kept = served
        for place in range(served, batch):
            request = running[place]
            if length[request] < full[request]:
                running[kept] = request
                kept += 1
                continue
            finish[request] = clock
            finished += 1
            if sent < requests:
                arrival[sent] = clock
                sent += 1
        batch = kept
    return first, finish, by_rung, busy, preemptions, peak


@compiled
def _blocks(tokens: int, block: int) -> int:
    return (tokens + block - 1) // block


@compiled
def _blocks_of(running: np.ndarray, batch: int, length: np.ndarray, ahead: int, block: int) -> int:
    blocks = 0
    for place in range(batch):
        blocks += _blocks(length[running[place]] + ahead, block)
    return blocks
