"""Prove claims about units: Amaranth to gates by pyosys, then ABC, the model checker that pyosys brings along.

A `Bench` holds a unit, its free inputs, assumptions about them, claims and goals. `Bench.prove` looks for a run, of
whatever length, in which a claim is wrong; that there is none is proved by one of two methods:

* property directed reachability (PDR, also called IC3): finds the invariants that it needs, for control;
* induction from one cycle to the next: for arithmetic, where the claims must say enough to follow from themselves.

`Bench.unreached` is the counterpart: a goal must happen in some run, so that no claim holds for lack of occasion.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Fragment, Module, Signal, Value
from amaranth.lib.wiring import In

libyosys = pytest.importorskip("pyosys.libyosys", reason="proofs need pyosys")
ABC = Path(libyosys.__file__).parent / "yosys-abc"
if not ABC.exists():
    pytest.skip(f"proofs need {ABC}, which this build of pyosys does not have", allow_module_level=True)

TIMEOUT = 300
"""Seconds for one question; most take a few."""
SWEPT = "swept.aig"
"""What equivalent signals and registers (``scorr``) leave of the question; sometimes that is all of the proof."""
REACH_CYCLES = 40
"""Cycles within which a goal must be reached."""

WIRES = "wires"
"""Clock domain whose registers become wires."""
WIRED = re.compile(
    rf"cell \$dff \S+\n(?:\s*parameter [^\n]*\n)*\s*connect \\D ([^\n]*)\n"
    rf"\s*connect \\CLK \\{WIRES}_clk \[0\]\n\s*connect \\Q ([^\n]*)\n\s*end\n"
)
"""Such a register, as text."""

TO_GATES = (
    "hierarchy -auto-top",
    "proc",
    "flatten",
    "memory -nomap",
    "memory_map",
    "opt -full -share_all",
    "techmap",
    "opt -full -share_all",
    "dffunmap",
    "opt_clean",
    "aigmap",
)
NONE_IS_LEFT = re.compile(
    r"Property proved|Networks are equivalent|"
    r"No output asserted in \d+ frames\. Resource limit reached \(conf limit 0\)"  # No limit: all frames are done.
)


@dataclass(frozen=True)
class Fault:
    """A claim that is wrong in the last cycle of a run; ``trace`` has the inputs of each cycle."""

    claim: str
    trace: tuple[dict[str, int], ...]

    def __str__(self) -> str:
        cycles = [f"  cycle {cycle}: {inputs}" for cycle, inputs in enumerate(self.trace)]
        return "\n".join([f"{self.claim}: wrong in cycle {len(self.trace) - 1}", *cycles])


class Bench:
    """What a proof is about: all runs from the initial state, without a reset, that the assumptions allow.

    Attributes
    ----------
    m : Module
        For what observes the unit. Nothing may be added after the first question.
    """

    def __init__(self) -> None:
        self.m = Module()
        self._wires: list[str] = []
        self._inputs: list[Value] = []
        self._assumptions: list[Value] = []
        self._claims: dict[str, Value] = {}
        self._goals: dict[str, Value] = {}
        self._gates = None

    @property
    def claims(self) -> list[str]:
        """The names of what is claimed."""
        return list(self._claims)

    def add(self, name: str, unit, inputs: Iterable | None = None):
        """Add a unit and return it. Its inputs, or the given ones of them, are free; the rest is the caller's."""
        self.m.submodules[name] = unit
        self._open(unit, inputs)
        return unit

    def add_open(self, name: str, unit) -> dict[str, Signal]:
        """Add a unit, all of whose inputs are free, and return the signals that it drives itself, by name."""
        fragment = Fragment.get(unit, None)
        self.m.submodules[name] = fragment
        self._open(unit, None)
        statements = [statement for part in fragment.statements.values() for statement in part]
        return {signal.name: signal for statement in statements for signal in statement._lhs_signals()}

    def add_wires(self, name: str, unit) -> None:
        """Add a unit, none of whose inputs are free, with a wire for each register: what one value becomes on its way.

        The unit must have no memory, and no way from a register back to itself but what constants cut.
        """
        self._wires.append(name)
        self.m.submodules[name] = Fragment.get(DomainRenamer(WIRES)(unit), None)

    def _open(self, unit, inputs: Iterable | None) -> None:
        if inputs is None:
            inputs = [value for _, member, value in unit.signature.flatten(unit) if member.flow == In]
        self._inputs += [Value.cast(value) for value in inputs]

    def free(self, name: str, shape=1):
        """Return an input of any value in each cycle."""
        signal = Signal(shape, name=name)
        self._inputs.append(Value.cast(signal))
        return signal

    def constant(self, name: str, shape=1):
        """Return an input of any value that never changes."""
        value, started, first = self.free(name, shape), Signal(), Signal(shape, name=f"first_{name}")
        constant = Signal(shape, name=f"constant_{name}")
        self.m.d.sync += [started.eq(1), first.eq(constant)]
        with self.m.If(started):
            self.m.d.comb += constant.eq(first)
        with self.m.Else():
            self.m.d.comb += constant.eq(value)
        return constant

    def assume(self, condition) -> None:
        """Leave out every run from the cycle on in which the condition does not hold."""
        self._assumptions.append(_truth(condition))

    def claim(self, name: str, condition) -> None:
        """Claim that the condition holds in every cycle."""
        self._claims[name] = _truth(condition)

    def goal(self, name: str, condition) -> None:
        """Expect that the condition holds in some cycle of some run."""
        self._goals[name] = _truth(condition)

    def held(self, valid, ready, *payload) -> Value:
        """Return the stream rule: whether what was offered and not taken in the last cycle is still offered."""
        now = Cat(*(Value.cast(part) for part in payload))
        waited, before = Signal(), Signal(now.shape())
        self.m.d.sync += [waited.eq(valid & ~ready), before.eq(now)]
        return ~waited | (valid & (now == before))

    def assume_stream(self, stream) -> None:
        """Assume that a source keeps the stream rule."""
        self.assume(self.held(stream.valid, stream.ready, stream.payload))

    def claim_stream(self, name: str, stream) -> None:
        """Claim that a stream keeps its rule, and expect that it has occasion to break it."""
        self.claim(f"{name} keeps the stream rule", self.held(stream.valid, stream.ready, stream.payload))
        self.goal(f"{name} waits", stream.valid & ~stream.ready)

    def prove(
        self, *, induction: int = 0, apart: bool = False, cycles: int = 3, timeout: int = TIMEOUT
    ) -> Fault | None:
        """Return None if every claim holds in every run, otherwise a fault.

        ``induction``: over so many cycles, none if 0. It looks for a fault in the first ``cycles`` cycles only, then
        for that many after which a claim breaks.
        ``apart``: the claims are proved one by one, which is quicker where they do not help each other.

        Raises
        ------
        TimeoutError
            Neither was found: no time, or claims that induction cannot carry from one cycle to the next.
        """
        if apart:
            for number, name in enumerate(self._claims, 1):
                trace = self._find(number, induction, cycles, timeout)
                if trace is not None:
                    return Fault(name, trace)
            return None
        trace = self._find(0, induction, cycles, timeout)
        if trace is None:
            return None
        for number, name in enumerate(self._claims, 1):
            own = self._ask(number, f"bmc3 -F {len(trace) + 1}", timeout)
            if own is not None:
                return Fault(name, own)
        raise AssertionError("two engines disagree")

    def _find(self, output: int, induction: int, cycles: int, timeout: int) -> tuple[dict[str, int], ...] | None:
        """Return the inputs of a run in which an output is 1, or None when it is proved that there is none."""
        if not induction:
            return self._ask(output, f"scorr; write_aiger {SWEPT}; pdr", timeout)
        # Frames of a question: the register before each output adds one.
        trace = self._ask(output, f"bmc3 -F {cycles + 1}", timeout)
        if trace is None:
            self._ask(output, f"ind -F {induction + 2} -C 0", timeout)
        return trace

    def unreached(self, cycles: int = REACH_CYCLES, timeout: int = TIMEOUT) -> list[str]:
        """Return the goals that no run of so many cycles reaches."""
        question = f"bmc3 -F {cycles + 1}"
        numbered = enumerate(self._goals, 1 + len(self._claims))
        return [name for number, name in numbered if self._ask(number, question, timeout) is None]

    def _ask(self, output: int, question: str, timeout: int) -> tuple[dict[str, int], ...] | None:
        """Return the inputs of a run at whose end an output is 1, or None if there is none."""
        self._gates = self._gates or self._synthesise()
        with tempfile.TemporaryDirectory() as folder:
            gates = Path(folder, "bench.aig")
            only = f"delete -port o:output_* o:output_{output:03} %d"
            write = f"write_aiger -miter -zinit -symbols {gates}"
            _passes(self._gates, ["design -push-copy", only, "opt_clean", write, "design -pop"])
            if _is_zero(gates):
                return None
            script = f"read_aiger {gates.name}; strash; {question}; write_cex -n trace.txt"
            command = [str(ABC), "-c", script]
            try:
                run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=True)
            except subprocess.TimeoutExpired as end:
                raise TimeoutError(f"{question}: no answer in {timeout} s") from end
            if "was asserted in frame" in run.stdout:
                return _read_trace(Path(folder, "trace.txt").read_text())
            if Path(folder, SWEPT).exists() and _is_zero(Path(folder, SWEPT)):
                return None
        if NONE_IS_LEFT.search(run.stdout):
            return None
        raise TimeoutError(f"{question}: no answer\n{run.stdout[-1000:]}")

    def _synthesise(self):
        """Return the bench as an and-inverter graph. Outputs: a claim is wrong, each claim is, each goal is reached."""
        top = Module()
        top.domains.sync = domain = ClockDomain(reset_less=True)
        top.domains.wires = wires = ClockDomain(reset_less=True)
        top.submodules.bench = self.m
        so_far, holds = Signal(init=1), Signal()
        top.d.comb += holds.eq(so_far & Cat(*self._assumptions).all())
        top.d.sync += so_far.eq(holds)
        wrong = [~condition for condition in self._claims.values()]
        outputs = []
        for number, condition in enumerate([Cat(*wrong).any(), *wrong, *self._goals.values()]):
            # The register makes a sequential circuit of a combinational unit too, which is all that ABC takes here.
            outputs.append(Signal(name=f"output_{number:03}"))
            top.d.sync += outputs[-1].eq(condition & holds)
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "bench.il")
            ports = [domain.clk, wires.clk, *self._inputs, *outputs]
            text = rtlil.convert(top, ports=ports, emit_src=False)
            source.write_text(WIRED.sub(r"connect \2 \1\n", text))
            design = libyosys.Design()
            # A wire has no initial value.
            wires = [f"setattr -unset init top.bench.{name}*/w:*" for name in self._wires]
            _passes(design, [f"read_rtlil {source}", *wires, *TO_GATES])
        return design


def _passes(design, steps: Iterable[str]) -> None:
    for step in steps:
        libyosys.run_pass(f"tee -q {step}", design)


def _truth(condition) -> Value:
    return Value.cast(condition).bool()


def _is_zero(gates: Path) -> bool:
    """Return whether the only output of an AIGER file is constant 0, which ABC declines to answer."""
    header, *lines = gates.read_bytes().split(b"\n")
    latches = int(header.split()[3])
    return lines[latches] == b"0"


def _read_trace(text: str) -> tuple[dict[str, int], ...]:
    """Return the inputs of each cycle from the lines ``name[bit]@cycle=value`` of a counterexample."""
    cycles: list[dict[str, int]] = []
    for name, bit, cycle, value in re.findall(r"^([^\s\[@]+)(?:\[(\d+)\])?@(\d+)=([01])$", text, re.MULTILINE):
        while len(cycles) <= int(cycle):
            cycles.append({})
        if name not in ("clk", f"{WIRES}_clk") and not name.startswith(("bench.", "output_", "!")):
            cycles[int(cycle)][name] = cycles[int(cycle)].get(name, 0) | int(value) << int(bit or 0)
    # The outputs are registered: the last cycle only shows one.
    return tuple(cycles[:-1])
