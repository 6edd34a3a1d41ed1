"""Run one component in Amaranth's own simulator: streams driven and read with random stalls, rules checked.

The kit drives every input stream of a component with a list of payloads, reads every output stream, and fails when a
stream rule is broken (valid dropped or payload changed before it was accepted) or when the watchdog expires.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import data, stream, wiring
from amaranth.sim import Simulator

PERIOD = 1e-6

RECORDER: list["Case"] | None = None
"""Where `run` leaves its cases, for another engine to repeat them; None = nowhere."""

STALLS = ((1.0, 1.0), (0.3, 1.0), (1.0, 0.3), (0.5, 0.5))
"""Chances, a cycle, that the source offers and that the sink accepts: none, source, sink and both throttled."""


@dataclass
class Run:
    """What came out.

    Parameters
    ----------
    outputs : dict
        Per output stream, the payloads in order: integers, or for layouts the constants (`data.Const`).
    cycles : dict
        Per stream, the cycle of each transfer; cycle 0 is the first after reset.
    total : int
        Cycles until the last expected payload.
    """

    outputs: dict[str, list[Any]] = field(default_factory=dict)
    cycles: dict[str, list[int]] = field(default_factory=dict)
    total: int = 0


@dataclass(frozen=True)
class Case:
    """One call of `run` in plain integers, and what it returned."""

    component: wiring.Component
    inputs: dict[str, list[int]]
    outputs: dict[str, int]
    constants: dict[str, int]
    stalls: tuple[float, float]
    seed: int
    run: Run


def find(component: wiring.Component, path: str) -> Any:
    """Return the member of a component by a dotted path such as ``memory.request``."""
    for part in path.split("."):
        component = getattr(component, part)
    return component


def pack(shape: Any, value: Any) -> int:
    """Return a payload as the integer of its bits; ``value`` is an integer or what ``shape.const`` takes."""
    if isinstance(shape, data.Layout):
        return Value.cast(shape.const(value)).value if not isinstance(value, int) else value
    return int(value)


def unpack(shape: Any, bits: int) -> Any:
    """Return a payload from the integer of its bits: a `data.Const` for layouts, else the integer."""
    if isinstance(shape, data.Layout):
        return shape.from_bits(bits & (1 << shape.size) - 1)
    return bits


def run(
    component: wiring.Component,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, int],
    constants: Mapping[str, Any] | None = None,
    stalls: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    watchdog: int = 100_000,
    settle: int = 20,
) -> Run:
    """Drive a component and return what it produced.

    One function, though long: sources, sinks and the watchdog share the clock and the result.

    Parameters
    ----------
    inputs : dict
        Per input stream (dotted path), its payloads in order.
    outputs : dict
        Per output stream, how many payloads to wait for. More than that is an error.
    constants : dict
        Values of other input ports (integers, or what ``shape.const`` takes), set before the first cycle.
    stalls : (source, sink)
        Chance a cycle that a source offers its next payload, and that a sink is ready.
    watchdog : int
        Cycles after which the run fails.
    settle : int
        Cycles to go on afterwards, to catch surplus payloads.

    Raises
    ------
    AssertionError
        Broken stream rule, surplus payload, or watchdog.
    """
    constants = constants or {}
    result = Run({name: [] for name in outputs}, {name: [] for name in (*inputs, *outputs)})
    simulator = Simulator(component)
    simulator.add_clock(PERIOD)
    clock = {"cycle": 0}

    async def count(ctx):
        async for _ in ctx.tick():
            clock["cycle"] += 1

    def source(name: str, port: stream.Interface, payloads: Sequence[Any]):
        chance = random.Random(f"{seed} {name}")
        shape = port.payload.shape()

        async def drive(ctx):
            for payload in payloads:
                while chance.random() >= stalls[0]:
                    await ctx.tick()
                ctx.set(Value.cast(port.payload), pack(shape, payload))
                ctx.set(port.valid, 1)
                accepted = 0
                while not accepted:
                    cycle = clock["cycle"]
                    _, _, accepted = await ctx.tick().sample(port.ready)
                result.cycles[name].append(cycle)
                ctx.set(port.valid, 0)
            while True:
                await ctx.tick()

        return drive

    def sink(name: str, port: stream.Interface):
        chance = random.Random(f"{seed} {name}")
        shape = port.payload.shape()

        async def read(ctx):
            waiting = None
            while True:
                ready = chance.random() < stalls[1]
                ctx.set(port.ready, ready)
                cycle = clock["cycle"]
                _, _, valid, bits = await ctx.tick().sample(port.valid, Value.cast(port.payload))
                if waiting is not None:
                    assert valid, f"{name}: valid dropped before the payload was accepted"
                    assert bits == waiting, f"{name}: payload changed before it was accepted"
                waiting = bits if valid and not ready else None
                if valid and ready:
                    result.outputs[name].append(unpack(shape, bits))
                    result.cycles[name].append(cycle)

        return read

    async def wait(ctx):
        for path, value in constants.items():
            port = find(component, path)
            shape = port.shape() if hasattr(port, "shape") else None
            ctx.set(Value.cast(port), pack(shape, value))
        while any(len(result.outputs[name]) < outputs[name] for name in outputs):
            await ctx.tick()
            if clock["cycle"] > watchdog:
                got = {name: f"{len(result.outputs[name])} of {outputs[name]}" for name in outputs}
                raise AssertionError(f"watchdog: {got} after {watchdog} cycles")
        result.total = max(
            (cycles[-1] for name, cycles in result.cycles.items() if name in outputs and cycles),
            default=0,
        )
        await ctx.tick().repeat(settle)
        for name, expected in outputs.items():
            assert len(result.outputs[name]) == expected, f"{name}: surplus payloads"

    simulator.add_process(count)
    for name, payloads in inputs.items():
        simulator.add_testbench(source(name, find(component, name), payloads), background=True)
    for name in outputs:
        simulator.add_testbench(sink(name, find(component, name)), background=True)
    simulator.add_testbench(wait)
    simulator.run()
    if RECORDER is not None:
        packed = {name: [pack(find(component, name).payload.shape(), p) for p in inputs[name]] for name in inputs}
        ports = {path: find(component, path) for path in constants}
        fixed = {
            path: pack(port.shape() if hasattr(port, "shape") else None, constants[path])
            for path, port in ports.items()
        }
        RECORDER.append(Case(component, packed, dict(outputs), fixed, stalls, seed, result))
    return result
