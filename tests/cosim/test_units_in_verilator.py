"""Every unit bench once more in Verilator: the Verilog does what Amaranth's simulator did, cycle for cycle."""

import importlib
import inspect
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from amaranth.hdl import Module, Value
from amaranth.lib import data, wiring

from cosim import toolchain, unit
from cosim.simulation import Simulation
from rtl.verilog.export import verilog_of

FOLDER = Path(__file__).parents[2] / "build" / "simulation"
STALLS = (0.5, 0.5)
TESTS = Path(__file__).parents[1] / "rtl"
CASES_PER_TEST = 1
LONGEST_CYCLES = 6000


class Units(wiring.Component):
    """Components side by side, their ports under their names."""

    def __init__(self, components):
        self.components = components
        super().__init__({name: wiring.Out(c.signature) for name, c in components.items()})

    def elaborate(self, platform):
        m = Module()
        for name, component in self.components.items():
            m.submodules[name] = component
            outside = getattr(self, name)
            for path, member, inside in component.signature.flatten(component):
                port = outside
                for part in path:
                    port = port[part] if isinstance(part, int) else getattr(port, part)
                inner, outer = Value.cast(inside), Value.cast(port)
                m.d.comb += outer.eq(inner) if member.flow == wiring.Out else inner.eq(outer)
        return m


def _arguments(function):
    """The first of a bench's parameters, with both sides stalled; empty if some come from elsewhere."""
    arguments = {}
    for mark in getattr(function, "pytestmark", []):
        if mark.name == "parametrize":
            names = (
                [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
            )
            first = next(iter(mark.args[1]))
            first = first.values if isinstance(first, ParameterSet) else (first if len(names) > 1 else (first,))
            arguments |= dict(zip(names, first, strict=True))
    complete = set(arguments) == set(inspect.signature(function).parameters)
    return arguments | {"stalls": STALLS} if complete and "stalls" in arguments else {}


def record(folders):
    """Call every stalled unit bench of some folders; return its cases by name."""
    cases = {}
    for path in sorted(path for folder in folders for path in (TESTS / folder).glob("test_*.py")):
        module = importlib.import_module(f"tests.rtl.{path.parent.name}.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            arguments = _arguments(function)
            if not name.startswith("test_") or "stalls" not in arguments:
                continue
            unit.RECORDER = []
            unit.shared.cache_clear()
            try:
                function(**arguments)
                for number, case in enumerate(unit.RECORDER[:CASES_PER_TEST]):
                    if case.run.total <= LONGEST_CYCLES:
                        cases[f"{path.stem[5:]}_{name[5:]}_{number}"] = case
            finally:
                unit.RECORDER = None
    return cases


@pytest.mark.simulator
@pytest.mark.skipif(toolchain.find_verilator() is None, reason="verilator is not installed")
@pytest.mark.parametrize(
    ("folders", "count"),
    [(["parts", "memory"], 7), pytest.param(["factors", "samples", "shading"], 19, marks=pytest.mark.full)],
)
def test_verilog_of_every_unit_repeats_its_bench(folders, count):
    cases = record(folders)
    assert len(cases) == count, sorted(cases)
    top = Units({name: case.component for name, case in cases.items()})
    simulation = Simulation("units", {"units.v": verilog_of(top, "units")}, "verilator", FOLDER, public_top=True)
    requests = [
        {
            "name": name,
            "inputs": case.inputs,
            "outputs": case.outputs,
            "constants": case.constants,
            "stalls": case.stalls,
            "seed": case.seed,
            "cycles": case.run.total + 1,
        }
        for name, case in cases.items()
    ]
    got = simulation.run("cosim.unit_bench", {"cases": requests})["cases"]
    for (name, case), result in zip(cases.items(), got, strict=True):
        for stream, payloads in result["outputs"].items():
            mask = (1 << len(Value.cast(unit.find(case.component, stream).payload))) - 1
            expected = [Value.cast(p).value if isinstance(p, data.Const) else p for p in case.run.outputs[stream]]
            assert payloads == [value & mask for value in expected], f"{name}: {stream}"
            assert result["cycles"][stream] == case.run.cycles[stream], f"{name}: {stream}"
