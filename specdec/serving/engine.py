"""Continuous batching as a compiled loop over engine steps: a million requests in seconds.

The rules of a step are in `specdec.serving.reference`, where they are written for SimPy; both engines agree exactly.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any

import numpy as np

from rtnerf.base.compiled import allocating
from rtnerf.base.errors import require
from specdec.serving.controllers import Controller
from specdec.serving.ladder import CLASSES
from specdec.serving.outcome import Outcome
from specdec.serving.rules import (
    Line,
    accept,
    answer,
    blocks_of,
    blocks_of_all,
    control,
    decoding_time,
    keep,
    put_behind,
    send,
)
from specdec.serving.server import Server, cached
from specdec.serving.tables import Tables, tables
from specdec.serving.workload import Workload

STOP_SECONDS = 0.5
"""To wait for the loop after Ctrl-C, which takes milliseconds."""

NEVER = np.iinfo(np.int64).max

Run = tuple[np.ndarray, np.ndarray, np.ndarray, int, int, int]
"""First-token and finish times, requests' steps by rung, busy time, preemptions and the most blocks held."""


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
    """Run the loop in a thread of its own, so that this one hears Ctrl-C and can tell it to stop.

    What is being compiled then is left to end by itself, or with the process.
    """
    stop, done = np.zeros(1, np.bool_), Future[Run]()

    def work() -> None:
        try:
            done.set_result(run(*arguments, stop))
        except Exception as error:  # noqa: BLE001  It is raised where the result is asked for.
            done.set_exception(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        return done.result()
    except BaseException:
        stop[0] = True
        thread.join(STOP_SECONDS)
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
    those ``known`` are held for all requests together. Where other machines read, a request is in line for decoding
    from its time ``ready`` on, and has its first token before.
    One function, though long: admission, prefill, decoding and answers share nearly all of its state.
    """
    requests = len(arrival)
    length, full = prompt.copy(), prompt + output
    first, finish = np.full(requests, -1), np.full(requests, -1)
    by_rung = np.zeros(len(tables.nodes), np.int64)
    running, preempted = np.empty(tables.max_batch, np.int64), np.empty(tables.max_batch, np.int64)
    batch = put_off = arrived = finished = 0
    sent = min(clients, requests) if clients else requests
    clock = busy = steps = preemptions = peak = 0
    belief = (0, tables.prior, tables.expected[0, tables.prior])
    ready = np.full(requests, NEVER) if tables.readers else arrival
    free, order = np.zeros(tables.readers, np.int64), np.arange(requests)
    line = Line(arrival, prompt, known, first, finish, free, ready, order)
    for request in range(sent):
        send(line, request, arrival[request], tables)

    while finished < requests and not stop[0]:
        if batch == 0 and put_off == 0 and ready[order[arrived]] > clock:
            clock = ready[order[arrived]]

        # Admit waiting requests while there is room, the preempted before the others.
        old = batch
        held = blocks_of_all(running, batch, length, known, tables.nodes[belief[0]] - 1, tables.block)
        tokens = reading = 0
        while batch < tables.max_batch:
            if put_off:
                request = preempted[put_off - 1]
            elif arrived < requests and ready[order[arrived]] <= clock:
                request = order[arrived]
            else:
                break
            own = length[request] - known[request]
            read = 0 if tables.readers and not put_off else own
            needed = blocks_of(own + tables.nodes[belief[0]], tables.block)
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
            if read:
                reading += 1
                continue
            length[request] += 1
            if length[request] == full[request]:
                batch -= 1
                finished += 1
                sent = answer(line, request, clock, sent, tables)
        if batch == 0:
            continue

        # Prefill those, or decode for all.
        if tokens:
            duration = tables.prefill[tokens]
            served = old
            for place in range(old, old + reading):
                request = running[place]
                length[request] += 1
                if first[request] < 0:
                    first[request] = clock + duration
        else:
            if steps % tables.interval == 0:
                belief = control(tables, belief, running, batch, length, known)
            steps += 1
            old = batch
            held, batch = keep(tables, belief[0], running, batch, length, known)
            put_off = put_behind(running[batch:old], preempted, put_off)
            preemptions += old - batch
            peak = max(peak, held)
            duration = decoding_time(tables, belief[0], running, batch, length)
            by_rung[belief[0]] += batch
            served = 0
            belief = accept(tables, belief, rng, running, batch, length, acceptance)
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
            finished += 1
            sent = answer(line, request, clock, sent, tables)
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
    sent = min(clients, requests) if clients else requests
    clock = busy = steps = preemptions = peak = 0
    belief = (0, tables.prior, tables.expected[0, tables.prior])

    while finished < requests and not stop[0]:
        if batch == 0 and put_off == 0 and arrival[arrived] > clock:
            clock = arrival[arrived]

        # The running requests' memory, that of those which still read included.
        if decoding:
            if steps % tables.interval == 0:
                belief = control(tables, belief, running, decoding, length, known)
            steps += 1
        old = batch
        held, batch = keep(tables, belief[0], running, batch, length, known)
        put_off = put_behind(running[batch:old], preempted, put_off)
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
            needed = blocks_of(own + tables.nodes[belief[0]], tables.block)
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

        duration = decoding_time(tables, belief[0], running, decoding, length) if decoding else 0
        if tokens:
            duration += max(tables.prefill[verified + tokens] - tables.prefill[verified], 0)
        clock += duration
        busy += duration
        by_rung[belief[0]] += decoding
        if decoding:
            belief = accept(tables, belief, rng, running, decoding, length, acceptance)
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
