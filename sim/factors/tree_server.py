"""The tree server: one bi-directional tree, shared by several clients in turn. RTL: `rtl.factors.tree_server`."""

import numpy as np

from nerf.contract.config import COMPONENTS
from rtnerf.base.compiled import compiled, merged
from sim.parts.activity import BUSY, IDLE, NEVER, OUTPUT
from sim.parts.clients import TreeUser
from sim.parts.streams import SEARCH, SUM, TREE_RESPONSE

CLIENTS = len(TreeUser)
LATENCY = 5
"""Cycles from an accepted request to its valid response."""
CREDITS = 6
"""Responses that a client may have asked for and not taken."""
PLACES = 8
"""For those of a client, in a circle."""

STATE = np.dtype(
    [(name, np.int64) for name in ("activity", "last", "in_flight", "works_until")]
    + [(name, np.int64, (CLIENTS,)) for name in ("asked", "first", "offered")]
    + [("due", np.int64, (CLIENTS * PLACES,)), ("responses", TREE_RESPONSE, (CLIENTS * PLACES,))]
)
"""``last``: the client served last; ``in_flight``: all that the clients have asked for and not taken;
``works_until``: cycle in which the tree has answered everything."""


def new() -> np.void:
    """Return a server that has served nobody."""
    state = np.zeros(1, STATE)[0]
    state["last"] = CLIENTS - 1
    return state


@compiled
def place_of(bits: int, k: int) -> int:
    """Return the place of the k-th (from 0) set bit of 16, or 0 if there is none."""
    for place in range(COMPONENTS):
        if bits >> place & 1:
            if k == 0:
                return place
            k -= 1
    return 0


@merged
def count_of(bits: int) -> int:
    """Return how many of 16 bits are set."""
    count = 0
    while bits:
        bits &= bits - 1
        count += 1
    return count


@merged
def offer(now: int, state, client: int, response) -> None:
    """Put up the next response of a client, if it is due."""
    if not state.asked[client]:
        return
    if state.offered[client] and not response.valid:
        state.offered[client] = 0
        state.first[client] = (state.first[client] + 1) & PLACES - 1
        state.asked[client] -= 1
        state.in_flight -= 1
    place = PLACES * client + state.first[client]
    if state.asked[client] and not state.offered[client] and now >= state.due[place]:
        state.offered[client] = 1
        response.total = state.responses[place].total
        response.index = state.responses[place].index
        response.valid = 1


@merged
def offer_all(now: int, state, responses) -> None:
    """Put up the responses that are due, each client's in order (``responses``: an array of `TREE_RESPONSE`)."""
    for client in range(CLIENTS):
        offer(now, state, client, responses[client])


@merged
def step(now: int, state, requests, responses) -> int:
    """Grant one of the clients' ``requests`` (an array of `sim.parts.streams.TREE_REQUEST`) in turn."""
    for distance in range(1, CLIENTS + 1):
        client = state.last + distance
        client -= CLIENTS if client >= CLIENTS else 0
        request = requests[client]
        if request.valid and state.asked[client] != CREDITS:
            place = PLACES * client + (state.first[client] + state.asked[client] & PLACES - 1)
            response = state.responses[place]
            response.total = request.total if request.mode == SUM else count_of(request.bits)
            response.index = place_of(request.bits, request.k) if request.mode == SEARCH else 0
            state.due[place] = now + LATENCY
            state.works_until = now + LATENCY
            state.asked[client] += 1
            state.in_flight += 1
            state.last = client
            request.valid = 0
            break
    if not state.in_flight:
        state.activity = IDLE
        return NEVER
    state.activity = BUSY if now < state.works_until else OUTPUT
    wake = state.works_until if now < state.works_until else NEVER
    for client in range(CLIENTS):
        taken = state.offered[client] and not responses[client].valid
        if requests[client].valid and (taken or state.asked[client] != CREDITS):
            return now + 1
        if state.asked[client] and not state.offered[client]:
            wake = min(wake, max(state.due[PLACES * client + state.first[client]], now + 1))
    return wake
