# amaranth: UnusedElaboratable=no
"""The tree server: right answers to the right client, fairness, throughput, and freedom from blocking."""

from itertools import chain, pairwise

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, play, run, shared
from rtl.factors.tree_server import TreeServer
from rtl.payloads import TreePort, TreeRequest, TreeResponse
from tests.rtl.factors.test_search_tree import check, edge_requests, random_requests


class Client(wiring.Component):
    """A client that passes its requests and responses through."""

    i: In(stream.Signature(TreeRequest))
    o: Out(stream.Signature(TreeResponse))
    tree: Out(TreePort())

    def elaborate(self, platform):
        m = Module()
        port = wiring.flipped(self.tree)
        wiring.connect(m, wiring.flipped(self.i), port.request)
        wiring.connect(m, port.response, wiring.flipped(self.o))
        return m


class Harness(wiring.Component):
    """A server with clients that declare their side as blocks do."""

    def __init__(self, clients):
        self._clients = clients
        super().__init__(
            {f"i_{n}": In(stream.Signature(TreeRequest)) for n in range(clients)}
            | {f"o_{n}": Out(stream.Signature(TreeResponse)) for n in range(clients)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.server = server = TreeServer(self._clients)
        for n in range(self._clients):
            m.submodules[f"client_{n}"] = client = Client()
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{n}")), client.i)
            wiring.connect(m, client.o, wiring.flipped(getattr(self, f"o_{n}")))
            wiring.connect(m, client.tree, getattr(server, f"client_{n}"))
        return m


def serve(asked, stalls=(1.0, 1.0)):
    inputs = {f"i_{n}": requests for n, requests in enumerate(asked)}
    outputs = {f"o_{n}": len(requests) for n, requests in enumerate(asked)}
    result = run(shared(Harness, len(asked)), inputs, outputs, stalls=stalls)
    for n, requests in enumerate(asked):
        for one, response in zip(requests, result.outputs[f"o_{n}"], strict=True):
            check(one, response)
    return result


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize("clients", [1, 2, 3])
def test_each_client_gets_its_answers_in_order(clients, stalls):
    asked = [[*list(edge_requests())[n::3], *random_requests(60, f"{n} {stalls}")] for n in range(clients)]
    serve(asked, stalls)


def test_one_client_can_use_every_cycle():
    asked = [*random_requests(100, 1)]
    result = serve([asked, []])
    assert result.cycles["i_0"] == list(range(result.cycles["i_0"][0], result.cycles["i_0"][0] + len(asked)))
    delays = {out - into for into, out in zip(result.cycles["i_0"], result.cycles["o_0"], strict=True)}
    assert delays == {TreeServer.LATENCY}


def test_clients_share_the_cycles_evenly():
    asked = [[*random_requests(50, n)] for n in range(3)]
    result = serve(asked)
    cycles = [result.cycles[f"i_{n}"] for n in range(3)]
    assert sorted(chain(*cycles)) == list(range(150))
    assert all({b - a for a, b in pairwise(one)} == {3} for one in cycles)


def test_a_client_that_takes_nothing_blocks_nobody():
    bench = shared(Harness, 2)
    asked = [*random_requests(60, 4)]

    async def testbench(ctx):
        ctx.set(bench.i_0.valid, 1)
        ctx.set(bench.o_1.ready, 1)
        ctx.set(bench.i_1.valid, 1)
        refused, answers, sent = 0, [], 0
        ctx.set(bench.i_1.payload, asked[0])
        while len(answers) < len(asked):
            _, _, stuck, accepted, valid, response = await ctx.tick().sample(
                bench.i_0.ready, bench.i_1.ready, bench.o_1.valid, bench.o_1.payload
            )
            refused += not stuck
            if valid:
                answers.append(response)
            if accepted:
                sent += 1
                ctx.set(bench.i_1.valid, sent < len(asked))
                ctx.set(bench.i_1.payload, asked[min(sent, len(asked) - 1)])
            assert refused < 100
        for one, response in zip(asked, answers, strict=True):
            check(one, response)
        assert not ctx.get(bench.i_0.ready)
        assert ctx.get(bench.o_0.valid)

    play(bench, testbench)


def test_no_clients_are_refused():
    with pytest.raises(ValueError, match="clients must be at least 1, not 0"):
        TreeServer(0)
