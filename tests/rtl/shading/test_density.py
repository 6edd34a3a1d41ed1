"""Density against its integer model, with a stub adder tree of variable latency."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES, PRODUCT, UNIT
from nerf.contract.scene_image import PAIRS
from nerf.golden.density import alpha, table_position
from rtl.factors.tree_server import TreeServer
from rtl.payloads import TREE_SUM, SceneRegisters, TableWrite, TileLayouts
from rtl.shading.density import Density
from tests.rtl.shading.helpers_shading import fields, in_lanes, noise, samples_in

CFG = AcceleratorConfig(tile=8)
LAYOUTS = TileLayouts(CFG)
TABLE_BEATS = ALPHA_ENTRIES // 2
TREE_STAGES = 4
LARGEST = 127 * 127 * 256


class Bench(wiring.Component):
    """Density with the tree server, or a stub of ``TREE_STAGES + 1`` cycles, steady or hesitant."""

    def __init__(self, tree, groups=1, lanes=1):
        self.tree = tree
        self.dut = Density(
            replace(CFG, density_components=groups * COMPONENTS, sample_lanes=lanes, density_lanes=lanes)
        )
        super().__init__(
            {
                "i_sample": In(self.dut.i_sample.signature),
                "i_vector": In(self.dut.i_vector.signature),
                "table": In(stream.Signature(TableWrite)),
                "scene": In(SceneRegisters),
                "o": Out(self.dut.o.signature),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        loaded = Signal()
        with m.If(self.table.valid & (self.table.payload.beat == TABLE_BEATS)):
            m.d.sync += loaded.eq(1)
        for name in ("i_sample", "i_vector"):
            outer, inner = getattr(self, name), getattr(dut, name)
            m.d.comb += [
                inner.payload.eq(outer.payload),
                inner.valid.eq(outer.valid & loaded),
                outer.ready.eq(inner.ready & loaded),
            ]
        wiring.connect(m, wiring.flipped(self.table), dut.table)
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        m.d.comb += dut.scene.eq(self.scene)

        if self.tree == "server":
            m.submodules.server = server = TreeServer(clients=1)
            wiring.connect(m, dut.tree, server.client_0)
        else:
            self._stub(m, dut.tree.request, dut.tree.response)
        return m

    def _stub(self, m, request, response):
        # Room for everything in the stages, so that the stages never stall.
        m.submodules.queue = queue = SyncFIFO(width=32, depth=16)
        room = Signal()
        m.d.comb += [room.eq(queue.w_level + TREE_STAGES + 1 < 16), request.ready.eq(room)]
        value, valid = sum(request.payload.values[n] for n in range(COMPONENTS)), request.valid & room
        for stage in range(TREE_STAGES):
            total, present = Signal(signed(TREE_SUM), name=f"total_{stage}"), Signal(name=f"present_{stage}")
            m.d.sync += [total.eq(value), present.eq(valid)]
            value, valid = total, present
        m.d.comb += [queue.w_data.eq(value), queue.w_en.eq(valid)]
        offered = Signal()
        go = noise(m, "hesitation") if self.tree == "hesitant" else 1
        m.d.comb += [
            response.valid.eq(queue.r_rdy & (go | offered)),
            response.payload.total.eq(queue.r_data.as_signed()),
            queue.r_en.eq(response.valid & response.ready),
        ]
        m.d.sync += offered.eq(response.valid & ~response.ready)


def beats(table):
    """Tables section beats of an alpha table, and one beat of the next table that must be ignored."""
    words = [base | difference << 32 for base, difference in table]
    return [
        *({"beat": n, "data": words[2 * n] | words[2 * n + 1] << 64} for n in range(TABLE_BEATS)),
        {"beat": TABLE_BEATS, "data": (1 << 128) - 1},
    ]


def random_table(generator):
    knots = sorted(generator.randrange((1 << UNIT) + 1) for _ in range(ALPHA_ENTRIES + 1))
    knots[0], knots[-1] = 0, 1 << UNIT
    table = [(low, high - low) for low, high in pairwise(knots)]
    table[7] = (1 << UNIT, 1 << UNIT)  # The limit of alpha.
    return table


def make_case(generator, count, groups=1):
    """Samples, ``groups`` vectors for each, and totals: first edges, then random sums over the whole range."""
    samples, vectors, totals = [], [], []
    low, high = -(1 << PRODUCT.width - 1), (1 << PRODUCT.width - 1) - 1
    for index in range(count):
        if index < 4:
            fill = (0, LARGEST, -LARGEST, 1)[index]
            mine = [[[fill] * COMPONENTS for _ in PAIRS]] * groups
        else:
            size = generator.choice((1, 1 << 10, 1 << 18, high))
            mine = [
                [[max(low, generator.randint(-size, size)) for _ in range(COMPONENTS)] for _ in PAIRS]
                for _ in range(groups)
            ]
        vectors += mine
        totals.append(sum(sum(map(sum, vector)) for vector in mine))
        samples.append(
            {
                "pixel": generator.randrange(64),
                "cube": {axis: generator.randrange(128) for axis in "xyz"},
                "local": {axis: generator.randrange(1024) for axis in "xyz"},
                "last": 0,
            }
        )
        if index % 9 == 8 or index == count - 1:
            samples.append({"pixel": 0, "last": 1})
    return samples, vectors, totals


@pytest.mark.parametrize(("tree", "groups"), [("steady", 1), ("hesitant", 1), ("server", 1), ("hesitant", 4)])
@pytest.mark.parametrize("stalls", STALLS)
def test_alpha_equals_the_model(stalls, tree, groups):
    generator = random.Random(str(stalls))
    table = random_table(generator)
    samples, vectors, totals = make_case(generator, 50, groups)
    scene = {"density_multiplier": generator.choice((1 << 16, (1 << 24) - 1)), "density_offset": 7 << 8}
    result = run(
        shared(Bench, tree, groups),
        {"i_sample": samples, "i_vector": vectors, "table": beats(table)},
        {"o": len(samples)},
        {"scene": scene},
        stalls=stalls,
        seed=1,
    )
    sums = iter(totals)
    for sample, out in zip(samples, result.outputs["o"], strict=True):
        out = fields(out)
        assert out["last"] == sample["last"]
        if not sample["last"]:
            position = int(table_position(next(sums), scene["density_multiplier"], scene["density_offset"]))
            assert out == {**sample, "alpha": alpha(position, *table[position >> 8])}


@pytest.mark.parametrize("offset", [-(1 << 31), (1 << 31) - 1, 0])
def test_every_fraction_and_both_limits(offset):
    generator = random.Random(2)
    table = random_table(generator)
    samples, vectors, totals = make_case(generator, 40)
    scene = {"density_multiplier": (1 << 24) - 1, "density_offset": offset}
    for index in range(4, 40):
        total = (index * 7919 * 5) % (ALPHA_ENTRIES << 8)
        vectors[index] = [[0] * COMPONENTS for _ in PAIRS]
        vectors[index][2][5] = totals[index] = total
    result = run(
        shared(Bench, "steady"),
        {"i_sample": samples, "i_vector": vectors, "table": beats(table)},
        {"o": len(samples)},
        {"scene": scene},
    )
    got = [out.alpha for out in result.outputs["o"] if not out.last]
    positions = [int(table_position(total, scene["density_multiplier"], offset)) for total in totals]
    assert got == [alpha(position, *table[position >> 8]) for position in positions]


@pytest.mark.parametrize(("tree", "latency"), [("steady", TREE_STAGES + 1), ("server", TreeServer.LATENCY)])
def test_latency_and_one_sample_a_cycle(tree, latency):
    generator = random.Random(3)
    table = random_table(generator)
    samples, vectors, _ = make_case(generator, 40)
    samples = [sample for sample in samples if not sample["last"]]
    result = run(
        shared(Bench, tree),
        {"i_sample": samples, "i_vector": vectors, "table": beats(table)},
        {"o": len(samples)},
        {"scene": {"density_multiplier": 1 << 16}},
    )
    taken = result.cycles["i_vector"]
    assert taken == list(range(taken[0], taken[0] + len(vectors)))
    assert result.cycles["o"] == [cycle + Density.REQUEST_LATENCY + latency + Density.LATENCY for cycle in taken]


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stalls", STALLS)
def test_two_lanes_give_each_its_alpha(stalls, groups):
    generator = random.Random(f"lanes {stalls}")
    table = random_table(generator)
    samples, vectors, totals = make_case(generator, 60, groups)
    total_of, sums = (
        {},
        iter(zip(totals, (vectors[n : n + groups] for n in range(0, len(vectors), groups)), strict=True)),
    )
    for number, sample in enumerate(samples):
        if not sample["last"]:
            sample["cube"], total_of[number] = {"x": number, "y": 0, "z": 0}, next(sums)
            sample["local"]["x"] = number
    transfers = in_lanes(samples, generator)
    nothing = [[127] * COMPONENTS for _ in PAIRS]
    paired = [
        [total_of[lane["local"]["x"]][1][group] if lane["present"] else nothing for lane in transfer["lanes"]]
        for transfer in transfers
        if not transfer["last"]
        for group in range(groups)
    ]
    assert any(lane["present"] for one in transfers if not one["last"] for lane in one["lanes"][1:])
    scene = {"density_multiplier": 1 << 16, "density_offset": 7 << 8}
    result = run(
        shared(Bench, "server", groups, 2),
        {"i_sample": transfers, "i_vector": paired, "table": beats(table)},
        {"o": len(transfers)},
        {"scene": scene},
        stalls=stalls,
        seed=1,
    )
    for transfer, out in zip(transfers, result.outputs["o"], strict=True):
        out = fields(out)
        assert out["last"] == transfer["last"]
        expected = [] if transfer["last"] else samples_in(transfer)
        for sample, found in zip(expected, [] if out["last"] else samples_in(out), strict=True):
            position = int(table_position(total_of[sample["local"]["x"]][0], 1 << 16, 7 << 8))
            assert found == {**sample, "alpha": alpha(position, *table[position >> 8])}
    if stalls == (1.0, 1.0):
        latency = Density.REQUEST_LATENCY + TreeServer.LATENCY + Density.LATENCY
        ends = [cycle + latency for cycle in result.cycles["i_vector"][groups - 1 :: groups]]
        # A marker takes a step of the table's pipeline, and what comes behind it a cycle more.
        before_marker = next(n for n, out in enumerate(result.outputs["o"]) if out.last)
        assert result.cycles["o"][:before_marker] == ends[:before_marker]
