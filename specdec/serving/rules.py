"""The rules of a step, compiled: what comes and ends, what is drafted, what is accepted, and whose memory is lost."""

from typing import NamedTuple

import numpy as np

from rtnerf.base.compiled import compiled
from specdec.serving.controllers import believed, choose, step_time
from specdec.serving.tables import Tables

# ---- Requests on their way ----


class Line(NamedTuple):
    """Requests by number; ``order`` has them as they are ``ready`` for decoding, ``free`` when readers are."""

    arrival: np.ndarray
    prompt: np.ndarray
    known: np.ndarray
    first: np.ndarray
    finish: np.ndarray
    free: np.ndarray
    ready: np.ndarray
    order: np.ndarray


@compiled
def answer(line: Line, request: int, clock: int, sent: int, tables: Tables) -> int:
    """End a request, and have a client that waited for it send the next; return how many are sent then."""
    line.finish[request] = clock
    if sent == len(line.arrival):
        return sent
    send(line, sent, clock, tables)
    return sent + 1


@compiled
def send(line: Line, request: int, clock: int, tables: Tables) -> None:
    """Let a request come; where other machines read, have the first that is free read it, and put it in line."""
    line.arrival[request] = clock
    if not tables.readers:
        return
    tokens = line.prompt[request] - line.known[request]
    reader = line.free.argmin()
    line.free[reader] = max(clock, line.free[reader]) + tables.prefill[tokens]
    line.first[request] = line.free[reader]
    line.ready[request] = line.free[reader] + int(np.rint(tables.transfer * tokens))
    place = request
    while place and line.ready[line.order[place - 1]] > line.ready[request]:
        line.order[place] = line.order[place - 1]
        place -= 1
    line.order[place] = request


# ---- A belief is a rung, the class of acceptance, and the average tokens of a request and step ----


@compiled
def control(
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
def keep(
    tables: Tables, rung: int, running: np.ndarray, batch: int, length: np.ndarray, known: np.ndarray
) -> tuple[int, int]:
    """Return the blocks of the next step, and how many of the running requests have room for theirs."""
    ahead = tables.nodes[rung] - 1
    held = blocks_of_all(running, batch, length, known, ahead, tables.block)
    while held > tables.blocks:
        batch -= 1
        held -= blocks_of(length[running[batch]] - known[running[batch]] + ahead, tables.block)
    return held, batch


@compiled
def put_behind(without_room: np.ndarray, preempted: np.ndarray, put_off: int) -> int:
    """Put requests behind the preempted, the last to come as the last; return how many are preempted then."""
    for place in range(len(without_room) - 1, -1, -1):
        preempted[put_off] = without_room[place]
        put_off += 1
    return put_off


@compiled
def decoding_time(tables: Tables, rung: int, running: np.ndarray, batch: int, length: np.ndarray) -> int:
    """Return the time of a decoding step."""
    context = 0
    for place in range(batch):
        context += length[running[place]] - 1
    return int(np.rint(step_time(tables.decoding, rung, batch, context, tables.max_length)))


@compiled
def accept(
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
def blocks_of(tokens: int, block: int) -> int:
    """Return the blocks that hold so many tokens."""
    return (tokens + block - 1) // block


@compiled
def blocks_of_all(
    running: np.ndarray, batch: int, length: np.ndarray, known: np.ndarray, ahead: int, block: int
) -> int:
    """Return the blocks of all running requests, with ``ahead`` tokens more in the cache of each."""
    blocks = 0
    for place in range(batch):
        blocks += blocks_of(length[running[place]] - known[running[place]] + ahead, block)
    return blocks
