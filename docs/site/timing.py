"""The page of timing diagrams: simulations of a queue, of the registers and of a frame, drawn by WaveDrom."""

import base64
import html
import json
from collections.abc import Sequence

SLICES, SIZE = 16, 16
"""Parts of the frame, a column each; pixels of its sides."""


def page() -> str:
    """Return the page, in Markdown."""
    return f"""\
# Timing diagrams

Drawn from simulations when this page was built: the first two by Amaranth's simulator of the RTL, a column a clock
cycle; the third by the cycle-accurate simulator, which agrees with the RTL in every cycle
([simulator.md](simulator.md)). For waveforms of a run of your own: `rtnerf cosim --wave run.fst`.

## A stream

All blocks meet in streams: a payload moves in a cycle in which `valid` and `ready` are both 1; `valid` does not wait
for `ready`, and a payload that is not taken stays. Here a queue of four places takes six payloads while its reader
pauses: the queue fills, `ready` of its input falls, and nothing is lost.

{picture("A queue between a writer and a reader that pauses, cycle by cycle: valid, ready and payload", stream())}

## Registers

The host reads `identity`, then starts a frame through AXI4-Lite: address and data are taken together, the answer
comes a cycle later, and `start` is 1 for one cycle ([registers.md](registers.md)).

{picture("A read of identity and a write of control on AXI4-Lite, cycle by cycle", registers())}

## A frame's life

The embedded model on `tiny`, {SIZE}x{SIZE} pixels, LPDDR4: from the start of the frame to its last pixel in {SLICES}
equal parts. A stream is high where something moved in that part; in brackets, how many payloads in all.

{picture("A frame from start to end: in which of its parts each stream of the accelerator moves payloads", frame())}
"""


def picture(words: str, diagram: dict) -> str:
    """Return a diagram as an image that needs no other file."""
    import wavedrom

    drawn = wavedrom.render(json.dumps(diagram)).tostring()
    code = base64.b64encode(drawn.encode()).decode()
    return f'<figure class="timing"><img alt="{html.escape(words)}" src="data:image/svg+xml;base64,{code}"></figure>'


def lane(name: str, values: Sequence[int | None], digits: int = 0) -> dict:
    """Return a line of a diagram: of bits, or with ``digits`` of hexadecimal numbers; None is not valid."""
    wave, data, before = "", [], object()
    for value in values:
        if value == before:
            wave += "."
            continue
        before = value
        if value is None:
            wave += "x"
        elif digits:
            wave += "="
            data.append(f"{value:0{digits}x}")
        else:
            wave += str(value)
    return {"name": name, "wave": wave, **({"data": data} if digits else {})}


def clock(cycles: int) -> dict:
    """Return the line of the clock."""
    return {"name": "clk", "wave": "p" + "." * (cycles - 1)}


def observed(component, watched: Sequence, drivers: Sequence, cycles: int) -> list[list[int]]:
    """Simulate a component of the RTL with processes that drive it; return the values of each signal in each cycle."""
    from amaranth.sim import Simulator

    rows: list = []

    async def watch(ctx):
        for _ in range(cycles):
            rows.append([ctx.get(signal) for signal in watched])
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for driver in drivers:
        simulator.add_testbench(driver, background=True)
    simulator.add_testbench(watch)
    simulator.run()
    return [list(column) for column in zip(*rows, strict=True)]


def shown(values: Sequence[int], valid: Sequence[int]) -> list[int | None]:
    """Return the values where they are valid."""
    return [value if is_valid else None for value, is_valid in zip(values, valid, strict=True)]


def stream(cycles: int = 16) -> dict:
    """Return the diagram of a queue whose reader pauses."""
    from rtl.parts.queue import Queue

    queue = Queue(8, 4)
    payloads = (0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5)

    async def write(ctx):
        await ctx.tick()
        for payload in payloads:
            ctx.set(queue.i.payload, payload)
            ctx.set(queue.i.valid, 1)
            await ctx.tick().until(queue.i.ready)
        ctx.set(queue.i.valid, 0)

    async def read(ctx):
        await ctx.tick().repeat(3)
        for ready in (1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1):
            ctx.set(queue.o.ready, ready)
            await ctx.tick()

    sides = (queue.i, queue.o)
    watched = [signal for side in sides for signal in (side.valid, side.ready, side.payload)]
    found = observed(queue, watched, (write, read), cycles)
    lines: list = [clock(cycles)]
    for name, (valid, ready, payload) in zip("io", (found[:3], found[3:]), strict=True):
        lines += [
            {},
            lane(f"{name}.valid", valid),
            lane(f"{name}.ready", ready),
            lane(f"{name}.payload", shown(payload, valid), 2),
        ]
    return {"signal": lines}


def registers(cycles: int = 14) -> dict:
    """Return the diagram of a read and a write of registers."""
    from nerf.contract.config import PRESETS
    from nerf.contract.registers import CONTROL_START, REGISTERS
    from rtl.control.control_registers import ControlRegisters

    made = ControlRegisters(PRESETS["tiny"])
    bus = made.control

    async def host(ctx):
        await ctx.tick()
        ctx.set(bus.araddr, REGISTERS["identity"])
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        ctx.set(bus.rready, 1)
        await ctx.tick().until(bus.rvalid)
        ctx.set(bus.rready, 0)
        await ctx.tick().repeat(2)
        ctx.set(bus.awaddr, REGISTERS["control"])
        ctx.set(bus.wdata, CONTROL_START)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wvalid, 1)
        await ctx.tick().until(bus.awready & bus.wready)
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        ctx.set(bus.bready, 1)
        await ctx.tick().until(bus.bvalid)
        ctx.set(bus.bready, 0)

    channels = {
        "ar": ("arvalid", "arready", "araddr", 3), "r": ("rvalid", "rready", "rdata", 8),
        "aw": ("awvalid", "awready", "awaddr", 3), "w": ("wvalid", "wready", "wdata", 8),
    }  # fmt: skip
    names = [name for channel in channels.values() for name in channel[:3]] + ["bvalid", "bready"]
    found = observed(made, [*(getattr(bus, name) for name in names), made.start], (host,), cycles)
    value = dict(zip([*names, "start"], found, strict=True))
    lines: list = [clock(cycles)]
    for valid, ready, payload, digits in channels.values():
        lines += [{}, lane(valid, value[valid]), lane(ready, value[ready])]
        lines.append(lane(payload, shown(value[payload], value[valid]), digits))
    lines += [{}, *(lane(name, value[name]) for name in ("bvalid", "bready")), {}, lane("start", value["start"])]
    return {"signal": lines, "config": {"hscale": 2}}


def frame() -> dict:
    """Return the diagram of a frame: where its streams move payloads."""
    import numpy as np

    import rtnerf
    from sim.memory.dram import Dram
    from sim.simulate import simulate

    job = rtnerf.prepare(rtnerf.load_model())
    camera = rtnerf.load_cameras().camera(0, SIZE)
    run = simulate(job.decoded, job.view(camera), job.config, Dram(), record=True)
    assert run.transfers is not None
    lines: list = []
    for name, moved in run.transfers.items():
        moves = np.bincount(np.asarray(moved) * SLICES // run.cycles, minlength=SLICES)[:SLICES] > 0
        lines.append(lane(f"{name.replace('_', ' ')} ({len(moved)})", moves.astype(int).tolist()))
    title = f"{run.cycles} cycles, {run.cycles / SLICES:.0f} a column"
    return {"signal": lines, "head": {"text": title}}
