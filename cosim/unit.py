"""Run one component in Amaranth's own simulator: streams driven and read with random stalls, rules checked.

The kit drives every input stream of a component with a list of payloads, reads every output stream, and fails when a
stream rule is broken (valid dropped or payload changed before it was accepted) or when the watchdog expires.

Most of a short run is the compilation of the component. So the simulators of the last components are kept, and reset
when a component runs again; `shared` gives one component to many runs.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import MemoryData
from amaranth.sim import Simulator

PERIOD = 1e-6

RECORDER: list["Case"] | None = None
"""Where `run` leaves its cases, for another engine to repeat them; None = nowhere."""

LONGEST = 1_000_000
"""Cycles after which the watchdog ends a play."""

KEPT = 8
"""Components, and simulators, that are kept."""

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
    memories: dict[str, list[int]]
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


@lru_cache(KEPT)
def shared(kind: Callable[..., wiring.Component], *arguments: Any, **options: Any) -> wiring.Component:
    """Return ``kind(*arguments, **options)``, the same component to all who ask for it."""
    return kind(*arguments, **options)


class _Kept:
    """The simulator of a component, for one play after the other; ``add``: the method that takes the players."""

    def __init__(self, component: wiring.Component, count: int, add: Callable[..., None]) -> None:
        self.simulator = Simulator(component)
        self.simulator.add_clock(PERIOD)
        self.players: Sequence[Callable] = ()
        for number in range(count):
            add(self.simulator, partial(self._player, number))
        self.simulator.add_testbench(self._watch, background=True)

    async def _player(self, number, ctx):
        await self.players[number](ctx)

    async def _watch(self, ctx):
        await ctx.delay(LONGEST * PERIOD)
        raise AssertionError(f"watchdog: not at an end after {LONGEST} cycles")

    def play(self, players: Sequence[Callable]) -> None:
        """Run the players from the first cycle on, as in a new simulator."""
        if self.players:
            self.simulator.reset()
        self.players = players
        self.simulator.run()


_kept = lru_cache(KEPT)(_Kept)


def _play(component: wiring.Component, players: Sequence[Callable], add: Callable[..., None]) -> None:
    try:
        _kept(component, len(players), add).play(players)
    except BaseException:
        _kept.cache_clear()
        raise


def play(component: wiring.Component, *testbenches: Callable) -> None:
    """Run Amaranth testbenches, each a function of the simulator's context, until all have ended.

    Raises
    ------
    AssertionError
        They have not ended after `LONGEST` cycles.
    """
    _play(component, testbenches, Simulator.add_testbench)


class _Source:
    """Offers payloads, each with a chance a cycle."""

    def __init__(self, port: stream.Interface, payloads: Sequence[int], chance: random.Random, limit: float) -> None:
        self.port, self.payload = port, Value.cast(port.payload)
        self.waiting, self.chance, self.limit = deque(payloads), chance, limit
        self.offering = False

    def drive(self, ctx) -> None:
        """Begin a cycle."""
        if not self.offering and self.waiting and self.chance.random() < self.limit:
            self.offering = True
            ctx.set(self.payload, self.waiting.popleft())
            ctx.set(self.port.valid, 1)

    def edge(self, ctx, ready: int) -> bool:
        """End a cycle; return whether it had a transfer."""
        accepted = self.offering and bool(ready)
        if accepted:
            self.offering = False
            ctx.set(self.port.valid, 0)
        return accepted


class _Sink:
    """Is ready with a chance a cycle, and checks that what waits for it stays."""

    def __init__(self, port: stream.Interface, chance: random.Random, limit: float) -> None:
        self.port, self.payload = port, Value.cast(port.payload)
        self.chance, self.limit = chance, limit
        self.ready = False
        self.waiting: int | None = None

    def drive(self, ctx) -> None:
        """Begin a cycle."""
        ready = self.chance.random() < self.limit
        if ready != self.ready:
            self.ready = ready
            ctx.set(self.port.ready, ready)

    def edge(self, name: str, valid: int, bits: int) -> bool:
        """End a cycle; return whether it had a transfer."""
        if self.waiting is not None:
            assert valid, f"{name}: valid dropped before the payload was accepted"
            assert bits == self.waiting, f"{name}: payload changed before it was accepted"
        self.waiting = bits if valid and not self.ready else None
        return self.ready and bool(valid)


class _Bench:
    """The driver of one case, whose run it fills."""

    def __init__(self, case: Case, watchdog: int, settle: int) -> None:
        self.case, self.watchdog, self.settle = case, watchdog, settle
        self.sources, self.sinks = {}, {}
        for name, payloads in case.inputs.items():
            self.sources[name] = _Source(find(case.component, name), payloads, self._chance(name), case.stalls[0])
        for name in case.outputs:
            self.sinks[name] = _Sink(find(case.component, name), self._chance(name), case.stalls[1])

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self.case.seed} {name}")

    def _complete(self) -> bool:
        return all(len(self.case.run.outputs[name]) >= count for name, count in self.case.outputs.items())

    async def drive(self, ctx):
        """Play all cycles, as a process: streams change with the clock."""
        for path, value in self.case.constants.items():
            ctx.set(Value.cast(find(self.case.component, path)), value)
        for path, rows in self.case.memories.items():
            memory = find(self.case.component, path)
            for address, row in enumerate(rows):
                ctx.set(memory[address], row)
        values = [source.port.ready for source in self.sources.values()]
        values += [value for sink in self.sinks.values() for value in (sink.port.valid, sink.payload)]
        streams = (*self.sources.values(), *self.sinks.values())
        cycle, end = 0, self.settle if self._complete() else None
        with ctx.critical():
            for one in streams:
                one.drive(ctx)
            async for _, _, *sampled in ctx.tick().sample(*values):
                self._edge(ctx, cycle, iter(sampled))
                cycle += 1
                if end is None and self._complete():
                    end = cycle + self.settle
                if cycle == end:
                    break
                if end is None and cycle > self.watchdog:
                    outputs = self.case.run.outputs
                    got = {name: f"{len(outputs[name])} of {count}" for name, count in self.case.outputs.items()}
                    raise AssertionError(f"watchdog: {got} after {self.watchdog} cycles")
                for one in streams:
                    one.drive(ctx)

    def _edge(self, ctx, cycle: int, sampled: Iterator[int]) -> None:
        result = self.case.run
        for name, source in self.sources.items():
            if source.edge(ctx, next(sampled)):
                result.cycles[name].append(cycle)
        for name, sink in self.sinks.items():
            valid, bits = next(sampled), next(sampled)
            if sink.edge(name, valid, bits):
                result.outputs[name].append(unpack(sink.port.payload.shape(), bits))
                result.cycles[name].append(cycle)


def _fill(memory: MemoryData, rows: Sequence[int]) -> list[int]:
    """Return the contents of all rows; what another engine repeats has them from the beginning."""
    contents = [*rows, *[0] * (memory.depth - len(rows))]
    if RECORDER is not None:
        memory.init = contents
    return contents


def run(
    component: wiring.Component,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, int],
    constants: Mapping[str, Any] | None = None,
    stalls: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    watchdog: int = 100_000,
    settle: int = 20,
    memories: Mapping[str, Sequence[int]] | None = None,
) -> Run:
    """Drive a component and return what it produced.

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
    memories : dict
        Contents, from the first row on, of memories of integers (`MemoryData`), set before the first cycle; other rows
        are 0.

    Raises
    ------
    AssertionError
        Broken stream rule, surplus payload, or watchdog.
    """
    constants = {path: (find(component, path), value) for path, value in (constants or {}).items()}
    case = Case(
        component,
        {name: [pack(find(component, name).payload.shape(), p) for p in inputs[name]] for name in inputs},
        dict(outputs),
        {path: pack(port.shape() if hasattr(port, "shape") else None, v) for path, (port, v) in constants.items()},
        {path: _fill(find(component, path), rows) for path, rows in (memories or {}).items()},
        stalls,
        seed,
        Run({name: [] for name in outputs}, {name: [] for name in (*inputs, *outputs)}),
    )
    _play(component, [_Bench(case, watchdog, settle).drive], Simulator.add_process)
    result = case.run
    for name, expected in outputs.items():
        assert len(result.outputs[name]) == expected, f"{name}: surplus payloads"
    result.total = max((result.cycles[name][-1] for name in outputs if result.cycles[name]), default=0)
    if RECORDER is not None:
        RECORDER.append(case)
    return result
