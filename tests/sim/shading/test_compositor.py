"""The simulator's compositor against the RTL's, cycle for cycle, weights and termination included."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from cosim.unit import STALLS, run, shared
from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import UNIT
from nerf.golden.compositor import composite
from rtl.parts.lanes import sample_in
from rtl.payloads import TileLayouts, ViewRegisters
from rtl.shading.compositor import Compositor
from sim.control.registers import VIEW
from sim.parts.streams import SAMPLE, copy_sample, new
from sim.shading import compositor
from tests.rtl.shading.helpers_shading import in_lanes, record, samples_in
from tests.sim.replay import replay
from tests.sim.samples.helpers_front_end import sleeper
from tests.sim.shading.helpers_shading import (
    MORE_STALLS,
    StrobeQueue,
    modelled,
    random_samples,
    registers,
    sample_fields,
    watched,
)

CFG = AcceleratorConfig(tile=4)
LAYOUTS = TileLayouts(CFG)
PIXELS = 16
ONE = 1 << UNIT
DEAD = (2, 5)


class Bench(wiring.Component):
    """Initialise all pixels before each tile; look a pixel's flag up every cycle, and tell the first finding of each.

    It is the pixel of the sample at the input, so that a look-up falls on every cycle around a write, or else one of
    all in turn. When a marker has passed, every pixel has one more.
    """

    def __init__(self, lanes):
        cfg = replace(CFG, sample_lanes=lanes, density_lanes=lanes)
        self.lanes = lanes
        self.dut = Compositor(cfg)
        super().__init__(
            {
                "i": In(stream.Signature(TileLayouts(cfg).OpaqueSamples)),
                "o": Out(stream.Signature(TileLayouts(cfg).VisibleSamples)),
                "view": In(ViewRegisters),
                "found": Out(stream.Signature(LAYOUTS.pixel)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut
        pixel, address, looked_at = (Signal(range(PIXELS), name=name) for name in ("pixel", "address", "looked_at"))
        looked_up = Signal()
        initialises, ready, drains = Signal(init=1), Signal(), Signal()
        seen = Signal(PIXELS)
        finds, flag = Signal(), Signal()
        sampled, present = sample_in(dut.i.payload, 0)
        sampled = sampled.pixel
        if self.lanes == 2:
            sampled = Mux(present, sampled, dut.i.payload.lanes[1].pixel)
        m.d.sync += [pixel.eq(pixel + 1), looked_at.eq(address), looked_up.eq(~initialises)]
        m.d.comb += [
            dut.view.eq(self.view),
            dut.initialise.eq(initialises),
            dut.initialise_pixel.eq(pixel),
            dut.initialise_live.eq(sum(pixel == dead for dead in DEAD) == 0),
            address.eq(Mux(dut.i.valid, sampled, pixel)),
            *(port.address.eq(address) for port in dut.terminated),
            *(port.enable.eq(1) for port in dut.terminated),
            dut.i.payload.eq(self.i.payload),
            dut.i.valid.eq(self.i.valid & ready),
            self.i.ready.eq(dut.i.ready & ready),
            flag.eq(Array(port.data for port in dut.terminated)[looked_at[: self.lanes - 1]]),
            finds.eq(looked_up & flag & ~seen.bit_select(looked_at, 1)),
        ]
        with m.If(finds):
            m.d.sync += seen.bit_select(looked_at, 1).eq(1)
        with m.If(~ready & ~drains & (pixel == PIXELS - 1)):
            m.d.sync += [initialises.eq(~initialises), ready.eq(initialises)]
            with m.If(initialises):
                m.d.sync += seen.eq(0)
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += [ready.eq(0), drains.eq(1)]
        with m.If(dut.o.valid & dut.o.ready & dut.o.payload.last):
            m.d.sync += [drains.eq(0), pixel.eq(0)]
        wiring.connect(m, dut.o, wiring.flipped(self.o))
        record(m, "found_queue", finds, looked_at, self.found)
        return m


class Twin:
    """The same bench in the simulator."""

    def __init__(self, view, skip):
        self.state, self.o = compositor.new(), new(SAMPLE)
        self.i, self.gated = new(SAMPLE), new(SAMPLE)
        self.transmittance, self.terminated_from = np.zeros(PIXELS, np.int64), np.zeros(PIXELS, np.int64)
        self.found, self.seen = StrobeQueue("pixel"), set()
        self.pixel, self.looked_up = 0, None
        self.initialises, self.ready, self.drains = True, False, False
        self.leaves = False
        pixels = (self.transmittance, self.terminated_from)
        view = registers(VIEW, **view)

        def step(now):
            return compositor.step(now, self.state, view, self.gated, self.o, *pixels)

        self.composite = sleeper(step, [self.gated, self.o]) if skip else step

    def offer(self, now):
        self.found.offer()

    def step(self, now):
        if self.looked_up is not None and self.looked_up not in self.seen:
            self.seen.add(self.looked_up)
            self.found.push(self.looked_up)
        pixel, self.pixel = self.pixel, (self.pixel + 1) % PIXELS
        left = self.leaves and not self.o["valid"]
        sampled = self.ready and self.i["valid"]
        address = int(self.i["pixel"]) if sampled else pixel
        marker = sampled and self.i["last"]
        if sampled:
            copy_sample(self.i, self.gated)
            self.gated["valid"] = 1
        self.composite(now)
        self.leaves = bool(self.o["valid"] and self.o["last"])
        if sampled:
            self.i["valid"] = self.gated["valid"]
            self.gated["valid"] = 0
        self.looked_up = address if not self.initialises and self.terminated_from[address] <= now else None
        if self.initialises:
            compositor.initialise(self.transmittance, self.terminated_from, pixel, pixel not in DEAD)
        if not self.ready and not self.drains and pixel == PIXELS - 1:
            self.ready = self.initialises
            self.initialises = not self.initialises
            self.seen = set() if self.ready else self.seen
        if marker and not self.i["valid"]:
            self.ready, self.drains = False, True
        if left:
            self.drains, self.pixel = False, 0
        return now + 1


def count_outputs(transfers, view):
    """Return how many samples and markers are passed on, and how many pixels are found terminated.

    A tile follows the last marker too, though without samples.
    """
    live = [pixel for pixel in range(PIXELS) if pixel not in DEAD]
    transmittance = dict.fromkeys(live, ONE)
    passed, found = 0, len(DEAD)
    for transfer in transfers:
        if transfer["last"]:
            transmittance = dict.fromkeys(live, ONE)
            passed += 1
            found += len(DEAD)
            continue
        weights = [0]
        for sample in samples_in(transfer):
            if sample["pixel"] in transmittance:
                weight, behind = composite(transmittance.pop(sample["pixel"]), sample["alpha"])
                weights.append(int(weight))
                if behind < view["termination"]:
                    found += 1
                else:
                    transmittance[sample["pixel"]] = behind
        passed += int(max(weights) > view["shading_threshold"])
    return {"o": passed, "found": found}


@pytest.mark.parametrize("stalls", [*STALLS, *MORE_STALLS])
@pytest.mark.parametrize(("pixels", "lanes"), [(1, 1), (4, 1), (PIXELS, 1), (4, 2), (PIXELS, 2)])
def test_every_transfer_comes_in_the_same_cycle(stalls, pixels, lanes):
    chance = random.Random(f"{stalls} {pixels}")
    view = {"termination": ONE // 100, "shading_threshold": ONE // 1000}

    edges = (0, 1, ONE, view["shading_threshold"], view["shading_threshold"] + 1, ONE - view["termination"])

    def alpha():
        return chance.choice((*edges, *(chance.randrange(ONE >> 4) for _ in range(9))))

    samples = random_samples(chance, 150, 5, pixels=pixels, lasts=0.03, alpha=alpha)
    samples.append({"pixel": 0, "last": 1})
    if lanes == 2:
        samples = in_lanes(samples, chance)
    counts = count_outputs(samples, view)
    settings = {"stalls": stalls, "seed": 6, "settle": 60}
    hardware = run(shared(Bench, lanes), {"i": samples}, counts, {"view": view}, **settings)
    activities: dict[bool, list[int]] = {False: [], True: []}
    for skip, activity in activities.items():
        twin = Twin(view, skip)
        cycles, payloads = replay(
            twin.step,
            {"i": (twin.i, [sample_fields(sample, "alpha") for sample in samples])},
            {"o": (twin.o, counts["o"]), "found": (twin.found.o, counts["found"])},
            offer=watched(activity, twin.state, twin.offer),
            **settings,
        )
        assert [modelled(payload) for payload in payloads["o"]] == [
            sample_fields(out, "weight") for out in hardware.outputs["o"]
        ]
        assert [pixel for (pixel,) in payloads["found"]] == hardware.outputs["found"]
        assert cycles == hardware.cycles
    assert activities[False] == activities[True]
