"""Continuous batching as a compiled loop over engine steps: a million requests in seconds.

The rules of a step are in `specdec.serving.reference`, where they are written for SimPy; both engines agree exactly.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from rtnerf.base.compiled import allocating, compiled
from rtnerf.base.errors import require
from specdec.serving.controllers import Controller, believed, choose, step_time
from specdec.serving.ladder import CLASSES
from specdec.serving.outcome import Outcome
from specdec.serving.server import Server, cached
from specdec.serving.workload import MILLISECOND, Workload

NEVER = np.iinfo(np.int64).max

Run = tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]
"""First-token and finish times, requests' steps by rung, busy time, preemptions and the most blocks held."""


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
    chunked: bool
    prefix: int


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
        server.blocks - server.shared,
        server.block,
        server.prefill_tokens,
        controller.interval,
        controller.preference,
        controller.exhaustive,
        round(controller.prior * (CLASSES - 1)),
        controller.window,
        server.chunked,
        server.prefix,
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
    known = cached(workload.prompt, tables.prefix, tables.block)
    longest, own = (int((workload.prompt + workload.output - less).max()) for less in (0, known))
    room = tables.blocks * tables.block - int(tables.nodes.max())
    for tokens, most in ((longest, tables.max_length), (own, room)):
        require(tokens <= most, "prompt and output", f"at most {most} tokens, which the server can hold", tokens)
    arrival = workload.arrival.copy()
    if workload.clients:
        arrival[workload.clients :] = NEVER
    acceptance = np.rint(workload.acceptance * (CLASSES - 1)).astype(np.int64)
    rest = workload.prompt, workload.output, known, acceptance, workload.clients, tables
    run = _run_chunked if tables.chunked else _run
    first, finish, by_rung, busy, preemptions, peak = _interruptible(run, np.random.default_rng(seed), arrival, *rest)
    return Outcome(arrival, first, finish, workload.output, by_rung, tables.nodes, busy, preemptions, peak)


def _interruptible(run: Callable[..., Run], *arguments: Any) -> Run:
    """Run the loop in a thread of its own, so that this one hears Ctrl-C and can tell it to stop."""
    stop = np.zeros(1, np.bool_)
    with ThreadPoolExecutor(1) as executor:
        try:
            return executor.submit(partial(run, *arguments, stop)).result()
        except BaseException:
            stop[0] = True
            raise


# ---- The loops ----


@allocating(nogil=True)
def _run(
    rng: np.random.Generator,
    arrival: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
    known: np.ndarray,
    acceptance: np.ndarray,
    clients: int,
    tables: Tables,
    stop: np.ndarray,
) -> Run:
    """Serve all requests, a prefill or a decoding step at a time.

    Another thread may set ``stop``, shape (1,), to have done with it; what is returned is then of no use.

    A request's length is that of its prompt and of what it has got; all but the last token are in the cache, of which
    those ``known`` are held for all requests together.
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
    belief = (0, tables.prior, tables.expected[0, tables.prior])

    while finished < requests and not stop[0]:
        if batch == 0 and put_off == 0 and arrival[arrived] > clock:
            clock = arrival[arrived]

        # Admit waiting requests while there is room, the preempted before the others.
        old = batch
        held = _blocks_of(running, batch, length, known, tables.nodes[belief[0]] - 1, tables.block)
        tokens = 0
        while batch < tables.max_batch:
            if put_off:
                request = preempted[put_off - 1]
            elif arrived < requests and arrival[arrived] <= clock:
                request = arrived
            else:
                break
            read = length[request] - known[request]
            needed = _blocks(read + tables.nodes[belief[0]], tables.block)
            if held + needed > tables.blocks or (tokens and tokens + read > tables.prefill_tokens):
                break
            if put_off:
                put_off -= 1
            else:
                arrived += 1
            held += needed
            tokens += read
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
            if steps % tables.interval == 0:
                belief = _chosen(tables, belief, running, batch, length, known)
            steps += 1
            old = batch
            held, batch = _kept(tables, belief[0], running, batch, length, known)
            put_off = _put_off(running[batch:old], preempted, put_off)
            preemptions += old - batch
            peak = max(peak, held)
            duration = _decoding(tables, belief[0], running, batch, length)
            by_rung[belief[0]] += batch
            served = 0
            belief = _accepted(tables, belief, rng, running, batch, length, acceptance)
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


@allocating(nogil=True)
def _run_chunked(
    rng: np.random.Generator,
    arrival: np.ndarray,
    prompt: np.ndarray,
    output: np.ndarray,
    known: np.ndarray,
    acceptance: np.ndarray,
    clients: int,
    tables: Tables,
    stop: np.ndarray,
) -> Run:
    """As `_run`, with prompts read in decoding steps, in parts that fill up a step.

    Running requests are in the order of their admission, so those that decode stand before those whose ``unread``
    tokens are not 0. One function, though long, for the same reason.
    """
    requests = len(arrival)
    length, full, unread = prompt.copy(), prompt + output, np.zeros(requests, np.int64)
    first, finish = np.full(requests, -1), np.full(requests, -1)
    by_rung = np.zeros(len(tables.nodes), np.int64)
    running, preempted = np.empty(tables.max_batch, np.int64), np.empty(tables.max_batch, np.int64)
    batch = decoding = put_off = arrived = finished = 0
    sent = clients if clients else requests
    clock = busy = steps = preemptions = peak = 0
    belief = (0, tables.prior, tables.expected[0, tables.prior])

    while finished < requests and not stop[0]:
        if batch == 0 and put_off == 0 and arrival[arrived] > clock:
            clock = arrival[arrived]

        # The running requests' memory, that of those which still read included.
        if decoding:
            if steps % tables.interval == 0:
                belief = _chosen(tables, belief, running, decoding, length, known)
            steps += 1
        old = batch
        held, batch = _kept(tables, belief[0], running, batch, length, known)
        put_off = _put_off(running[batch:old], preempted, put_off)
        preemptions += old - batch
        decoding = min(decoding, batch)

        # What a step has room for: first the prompts under way, then waiting requests, the preempted before the others.
        verified = decoding * tables.nodes[belief[0]]
        room = max(tables.prefill_tokens - verified, 0)
        tokens = 0
        for place in range(decoding, batch):
            read = min(unread[running[place]], room - tokens)
            unread[running[place]] -= read
            tokens += read
        while batch < tables.max_batch and tokens < room:
            if put_off:
                request = preempted[put_off - 1]
            elif arrived < requests and arrival[arrived] <= clock:
                request = arrived
            else:
                break
            own = length[request] - known[request]
            needed = _blocks(own + tables.nodes[belief[0]], tables.block)
            if held + needed > tables.blocks:
                break
            if put_off:
                put_off -= 1
            else:
                arrived += 1
            held += needed
            read = min(own, room - tokens)
            unread[request] = own - read
            tokens += read
            running[batch] = request
            batch += 1
        peak = max(peak, held)

        duration = _decoding(tables, belief[0], running, decoding, length) if decoding else 0
        if tokens:
            duration += max(tables.prefill[verified + tokens] - tables.prefill[verified], 0)
        clock += duration
        busy += duration
        by_rung[belief[0]] += decoding
        if decoding:
            belief = _accepted(tables, belief, rng, running, decoding, length, acceptance)
        for place in range(decoding, batch):
            request = running[place]
            if unread[request] == 0:
                length[request] += 1
                if first[request] < 0:
                    first[request] = clock

        # Answer those that have got all, and keep the others in their order.
        kept = decoding = 0
        for place in range(batch):
            request = running[place]
            if unread[request] or length[request] < full[request]:
                running[kept] = request
                kept += 1
                decoding += unread[request] == 0
                continue
            finish[request] = clock
            finished += 1
            if sent < requests:
                arrival[sent] = clock
                sent += 1
        batch = kept
    return first, finish, by_rung, busy, preemptions, peak


# ---- Their parts: a belief is a rung, the class of acceptance, and the average tokens of a request and step ----


@compiled
def _chosen(
    tables: Tables,
    belief: tuple[int, int, float],
    running: np.ndarray,
    batch: int,
    length: np.ndarray,
    known: np.ndarray,
) -> tuple[int, int, float]:
    """Choose the rung anew."""
    rung, believed_acceptance, average = belief
    if len(tables.nodes) == 1:
        return belief
    if tables.nodes[rung] > 1:
        believed_acceptance = believed(average, rung, tables.expected)
    context = shared = 0
    for place in range(batch):
        context += length[running[place]] - 1
        shared += known[running[place]]
    chosen = choose(
        batch,
        context,
        tables.max_length,
        tables.blocks * tables.block + shared,
        believed_acceptance,
        tables.nodes,
        tables.expected,
        tables.predicted,
        tables.preference,
        tables.exhaustive,
    )
    if chosen != rung:
        average = tables.expected[chosen, believed_acceptance]
    return chosen, believed_acceptance, average


@compiled
def _kept(
    tables: Tables, rung: int, running: np.ndarray, batch: int, length: np.ndarray, known: np.ndarray
) -> tuple[int, int]:
    """Return the blocks of the next step, and how many of the running requests have room for theirs."""
    ahead = tables.nodes[rung] - 1
    held = _blocks_of(running, batch, length, known, ahead, tables.block)
    while held > tables.blocks:
        batch -= 1
        held -= _blocks(length[running[batch]] - known[running[batch]] + ahead, tables.block)
    return held, batch


@compiled
def _put_off(without_room: np.ndarray, preempted: np.ndarray, put_off: int) -> int:
    """Put requests behind the preempted, the last to come as the last; return how many are preempted then."""
    for place in range(len(without_room) - 1, -1, -1):
        preempted[put_off] = without_room[place]
        put_off += 1
    return put_off


@compiled
def _decoding(tables: Tables, rung: int, running: np.ndarray, batch: int, length: np.ndarray) -> int:
    """Return the time of a decoding step."""
    context = 0
    for place in range(batch):
        context += length[running[place]] - 1
    return int(np.rint(step_time(tables.decoding, rung, batch, context, tables.max_length)))


@compiled
def _accepted(
    tables: Tables,
    belief: tuple[int, int, float],
    rng: np.random.Generator,
    running: np.ndarray,
    batch: int,
    length: np.ndarray,
    acceptance: np.ndarray,
) -> tuple[int, int, float]:
    """Give running requests what is accepted, and remember how much that was."""
    rung, believed_acceptance, average = belief
    gained = 0
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
    return rung, believed_acceptance, average


@compiled
def _blocks(tokens: int, block: int) -> int:
    return (tokens + block - 1) // block


@compiled
def _blocks_of(running: np.ndarray, batch: int, length: np.ndarray, known: np.ndarray, ahead: int, block: int) -> int:
    blocks = 0
    for place in range(batch):
        blocks += _blocks(length[running[place]] - known[running[place]] + ahead, block)
    return blocks
