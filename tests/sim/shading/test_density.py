"""The simulator's density block against the RTL's, cycle for cycle, alphas included."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory, MemoryData
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import ALPHA_ENTRIES
from nerf.golden.density import alpha, table_position
from nerf.golden.frame import density_sum
from rtl.payloads import TREE_SUM, SceneRegisters, TileLayouts
from rtl.shading.density import ENTRIES_A_BEAT, ENTRY_BITS, Density
from sim.parts.streams import SAMPLE, TREE_REQUEST, TREE_RESPONSE, new
from sim.shading import density
from tests.sim.replay import replay
from tests.sim.shading.helpers_shading import MORE_STALLS, modelled, random_samples, sample_fields, watched

CFG = AcceleratorConfig(tile=8)
LAYOUTS = TileLayouts(CFG)
CUBES = 3
BEATS = ALPHA_ENTRIES // ENTRIES_A_BEAT


def table_beats(table):
    """Return the beats of the tables section that hold an alpha table."""
    entries = [base | difference << ENTRY_BITS // 2 for base, difference in table.tolist()]
    return [low | high << ENTRY_BITS for low, high in zip(entries[::2], entries[1::2], strict=True)]


class Bench(wiring.Component):
    """The block behind a player of the alpha table; everything waits until the table has passed.

    Totals come from outside, independent of the requests.
    """

    def __init__(self, cfg):
        self.table = MemoryData(shape=128, depth=BEATS, init=[])
        self.dut = Density(cfg)
        super().__init__(
            {
                "i_sample": In(stream.Signature(LAYOUTS.Sample)),
                "total": In(stream.Signature(signed(TREE_SUM))),
                "scene": In(SceneRegisters),
                "o": Out(stream.Signature(LAYOUTS.OpaqueSample)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.table = table = Memory(self.table)
        read = table.read_port()
        index, playing = Signal(range(BEATS + 1)), Signal()
        ready = Signal()
        m.d.sync += playing.eq(index < BEATS)
        with m.If(index < BEATS):
            m.d.sync += index.eq(index + 1)
        m.d.comb += [
            read.addr.eq(index),
            dut.table.valid.eq(playing),
            dut.table.payload.beat.eq(index - 1),
            dut.table.payload.data.eq(read.data),
            dut.scene.eq(self.scene),
            ready.eq((index == BEATS) & ~playing),
        ]
        response = dut.tree.response
        for outer, inner, payload in (
            (self.i_sample, dut.i_sample, dut.i_sample.payload),
            (self.total, response, response.payload.total),
        ):
            m.d.comb += [
                payload.eq(outer.payload),
                inner.valid.eq(outer.valid & ready),
                outer.ready.eq(inner.ready & ready),
            ]
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        return m


def random_table(chance):
    """Return an alpha table, int64 (entries, 2)."""
    knots = np.sort([chance.randrange((1 << 20) + 1) for _ in range(ALPHA_ENTRIES + 1)]).astype(np.int64)
    return np.stack([knots[:-1], np.diff(knots)], axis=1)


def random_factors(generator, cubes=CUBES, components=16):
    """Return dense density factors for a grid of some cubes."""
    side = 4 * cubes + 1
    planes = tuple(generator.integers(-127, 128, (side, side, components)).astype(np.int8) for _ in range(3))
    lines = tuple(generator.integers(-127, 128, (side, components)).astype(np.int8) for _ in range(3))
    return planes, lines


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
@pytest.mark.parametrize(("lasts", "groups"), [(0.0, 1), (0.3, 1), (0.1, 3)])
def test_every_transfer_comes_in_the_same_cycle(stalls, lasts, groups):
    chance = random.Random(f"{stalls} {lasts}")
    cfg = replace(CFG, density_components=16 * groups)
    table, (planes, lines) = random_table(chance), random_factors(np.random.default_rng(3), components=16 * groups)
    samples = random_samples(chance, 60, 5, cubes=CUBES, lasts=lasts)
    scene = {"density_multiplier": 1 << 19, "density_offset": 500 << 8}
    totals, offered = [], []
    for sample in samples:
        offered.append(sample_fields(sample))
        if not sample["last"]:
            total = int(density_sum(planes, lines, *sample_fields(sample)[1:4]))
            at = table_position(total, *scene.values())
            offered[-1] = (*offered[-1][:4], int(alpha(at, *table[at >> 8].tolist())), 0)
            parts = [chance.randrange(-(1 << 20), 1 << 20) for _ in range(groups - 1)]
            totals += [*parts, total - sum(parts)]
    hardware = run(
        shared(Bench, cfg),
        {"i_sample": samples, "total": totals},
        {"o": len(samples)},
        {"scene": scene},
        stalls=stalls,
        seed=5,
        memories={"table": table_beats(table)},
    )
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        state = density.new(cfg)
        i_sample, response, o = new(SAMPLE), new(TREE_RESPONSE), new(SAMPLE)
        vector, request = new(TREE_REQUEST), new(TREE_REQUEST)

        def step(now, state=state, i_sample=i_sample, tree=(vector, request, response), o=o):
            # A beat leaves the player's memory a cycle after its read; the cycle after the last one is the first.
            if now <= BEATS:
                return BEATS + 1
            return density.step(now, state, i_sample, *tree, o)

        cycles, payloads = replay(
            step,
            {
                "i_sample": (i_sample, offered),
                "total": (response, [(total, 0) for total in totals]),
            },
            {"o": (o, len(samples))},
            offer=watched(activity, state),
            stalls=stalls,
            seed=5,
            skip=skip,
        )
        assert [modelled(payload) for payload in payloads["o"]] == [
            sample_fields(out, "alpha") for out in hardware.outputs["o"]
        ]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]
    assert lasts or len({out.alpha for out in hardware.outputs["o"]}) > 20
