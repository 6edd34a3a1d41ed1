"""The simulator's tree server against the RTL's, cycle for cycle."""

import random

import numpy as np
import pytest

from cosim.unit import STALLS, run, shared
from sim.factors import tree_server
from sim.parts.streams import TREE_REQUEST, TREE_RESPONSE
from tests.rtl.factors.test_search_tree import edge_requests, random_requests
from tests.rtl.factors.test_tree_server import Harness
from tests.sim.replay import replay

CLIENTS = range(tree_server.CLIENTS)


def simulate(asked, stalls, seed, skip):
    state = tree_server.new()
    requests, responses = np.zeros(len(CLIENTS), TREE_REQUEST), np.zeros(len(CLIENTS), TREE_RESPONSE)
    payloads = [[(one["mode"], sum(one["values"]), one["bits"], one["k"]) for one in wanted] for wanted in asked]
    return replay(
        lambda now: tree_server.step(now, state, requests, responses),
        {f"i_{client}": (requests[client], payloads[client]) for client in CLIENTS},
        {f"o_{client}": (responses[client], len(payloads[client])) for client in CLIENTS},
        stalls=stalls,
        seed=seed,
        offer=lambda now: tree_server.offer_all(now, state, responses),
        skip=skip,
    )


@pytest.mark.parametrize("stalls", [*STALLS, (1.0, 0.05)])
@pytest.mark.parametrize("lengths", [(30, 30, 30), (10, 0, 40)])
def test_every_transfer_comes_in_the_same_cycle(lengths, stalls):
    chance = random.Random(f"{lengths} {stalls}")
    asked = []
    for client, length in enumerate(lengths):
        requests = [*list(edge_requests())[client::3], *random_requests(60, f"{client} {stalls}")]
        asked.append(chance.sample(requests, length))
    outputs = {f"o_{client}": length for client, length in enumerate(lengths)}
    hardware = run(
        shared(Harness, len(CLIENTS)),
        {f"i_{n}": requests for n, requests in enumerate(asked)},
        outputs,
        stalls=stalls,
        seed=3,
    )
    for skip in (False, True):
        cycles, payloads = simulate(asked, stalls, 3, skip)
        assert cycles == hardware.cycles
        for client, requests in enumerate(asked):
            answers = zip(requests, payloads[f"o_{client}"], hardware.outputs[f"o_{client}"], strict=True)
            for request, (total, index), response in answers:
                assert total == response.total
                if request["mode"] == tree_server.SEARCH and response.found:
                    assert index == response.index
