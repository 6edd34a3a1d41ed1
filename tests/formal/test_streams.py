"""Queues, cube sequencer and round robin: order, rule and fairness, proved for runs of any length."""

import pytest
from amaranth.hdl import Mux, Signal

from nerf.contract.config import PRESETS
from rtl.factors.cube_sequencer import CubeSequencer
from rtl.parts.queue import Queue
from rtl.parts.round_robin import RoundRobin
from rtl.payloads import Cube, TileLayouts
from tests.formal.prove import Bench

PAYLOAD = 2
"""Bits. A queue does not look at payloads, so two values would do."""


def queue_bench(queue: Queue) -> Bench:
    """Follow any one payload: whatever was in the queue before it leaves first, then it leaves itself, unchanged.

    Its place among the outputs is then its place among the inputs; as this holds for each, nothing is lost, doubled or
    overtaken.
    """
    bench = Bench()
    m = bench.m
    bench.add("queue", queue)
    put, get = queue.i.valid & queue.i.ready, queue.o.valid & queue.o.ready
    inside = Signal(range(queue.depth + 2))
    m.d.sync += inside.eq(inside + put - get)

    follow = bench.free("follow")
    following, ahead, payload = Signal(), Signal.like(inside), Signal(PAYLOAD)
    leaves = following & get & (ahead == 0)
    with m.If(following & get):
        m.d.sync += [ahead.eq(ahead - 1), following.eq(ahead != 0)]
    with m.If(put & follow & ~following):
        m.d.sync += [following.eq(1), ahead.eq(inside - get), payload.eq(queue.i.payload)]

    # What was accepted two cycles ago or earlier and has not left.
    assert Queue.LATENCY == 2
    due = Signal()
    m.d.sync += due.eq(inside != get)
    bench.claim("order", ~leaves | (queue.o.payload == payload))
    bench.claim("nothing comes from nothing", ~queue.o.valid | (inside != 0))
    bench.claim("depth", inside <= queue.depth)
    bench.claim("latency", ~due | queue.o.valid)
    bench.claim_stream("o", queue.o)
    bench.goal("full", inside == queue.depth)
    bench.goal("the followed leaves", leaves & (payload == 1))
    return bench


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 8])
def test_queue(depth):
    bench = queue_bench(Queue(PAYLOAD, depth))
    assert bench.prove() is None
    assert bench.unreached() == []


def throughput_bench(depth: int) -> Bench:
    bench = Bench()
    queue = bench.add("queue", Queue(PAYLOAD, depth), inputs=())
    bench.m.d.comb += [queue.i.valid.eq(1), queue.o.ready.eq(1)]
    bench.claim("a payload each cycle", queue.i.ready)
    return bench


@pytest.mark.parametrize("depth", [3, 4, 8])
def test_queue_throughput(depth):
    assert throughput_bench(depth).prove() is None


def test_a_queue_of_two_takes_a_payload_every_other_cycle():
    """Its memory holds one payload, and is not written in the cycle in which it is read."""
    assert throughput_bench(2).prove() is not None


class StickyQueue(Queue):
    """A queue with a fault: when full, and only then, it gives a payload twice."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        fifo = m.submodules.fifo
        m.d.comb += fifo.r_en.eq(self.o.ready & (fifo.level != self.depth))
        return m


def test_a_queue_that_repeats_itself_is_found():
    fault = queue_bench(StickyQueue(PAYLOAD, 4)).prove()
    assert fault is not None
    assert len(fault.trace) > 4
    assert "wrong in cycle" in str(fault)


def round_robin_bench(count: int, turns: int) -> Bench:
    """Follow any one requester: how many grants go to others while it waits."""
    bench = Bench()
    m = bench.m
    arbiter = bench.add("arbiter", RoundRobin(count))
    watched = bench.constant("watched", range(count))
    bench.assume(watched < count)
    asks = arbiter.requests.bit_select(watched, 1)
    waited = Signal(range(count + 1))
    with m.If(~asks | (arbiter.next & arbiter.valid)):
        m.d.sync += waited.eq(Mux(asks & (arbiter.grant != watched), waited + 1, 0))
    bench.claim("a grant exists if and only if there is a request", arbiter.valid == arbiter.requests.any())
    bench.claim("grant", ~arbiter.valid | arbiter.requests.bit_select(arbiter.grant, 1))
    bench.claim("fairness", waited <= turns)
    bench.goal("longest wait", waited == count - 1)
    return bench


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_round_robin(count):
    bench = round_robin_bench(count, count - 1)
    assert bench.prove() is None
    assert bench.unreached() == []


def test_a_bound_too_tight_is_refuted():
    fault = round_robin_bench(5, 3).prove()
    assert fault.claim == "fairness"
    assert len(fault.trace) == 5
    assert all(cycle["next"] for cycle in fault.trace[:-1])


def test_cube_sequencer():
    """Every sample passes once, unchanged, and the last cube announced before it is its own."""
    layout = TileLayouts(PRESETS["tiny"]).VisibleSample
    bench = Bench()
    m = bench.m
    unit = bench.add("sequencer", CubeSequencer(layout))
    bench.assume_stream(unit.i)
    announced, cube = Signal(), Signal(Cube)
    with m.If(unit.o_cube.valid & unit.o_cube.ready):
        m.d.sync += [announced.eq(1), cube.eq(unit.o_cube.payload)]
    put, get = unit.i.valid & unit.i.ready, unit.o.valid & unit.o.ready
    bench.claim("a sample leaves as it comes", (put == get) & (unit.o.payload == unit.i.payload))
    bench.claim("its cube comes first", ~get | unit.o.payload.last | (announced & (cube == unit.o.payload.cube)))
    bench.claim("no cube twice", ~unit.o_cube.valid | ~announced | (cube != unit.o_cube.payload))
    bench.claim("one of them goes on", ~unit.i.valid | (unit.o.valid ^ unit.o_cube.valid))
    bench.claim_stream("o", unit.o)
    bench.claim_stream("o_cube", unit.o_cube)
    bench.goal("a second cube", unit.o_cube.valid & announced)
    bench.goal("a marker", get & unit.o.payload.last)
    assert bench.prove() is None
    assert bench.unreached() == []
