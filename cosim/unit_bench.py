"""cocotb bench that repeats recorded unit benches (`cosim.unit.Case`) on Verilog, cycle for cycle.

Parameters: ``cases``, a list of ``name``, ``inputs``, ``outputs``, ``constants``, ``stalls``, ``seed``, and
``cycles`` to run. Result: per case the payloads of the output streams and the cycles of all transfers.
"""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from cosim.simulation import bench_parameters, bench_result


class Port:
    """A stream's handles."""

    def __init__(self, dut, unit: str, stream: str) -> None:
        prefix = f"{unit}__{stream.replace('.', '__')}"
        self.payload = getattr(dut, f"{prefix}__payload")
        self.valid = getattr(dut, f"{prefix}__valid")
        self.ready = getattr(dut, f"{prefix}__ready")


class Source:
    """Offers payloads, each with a chance a cycle."""

    def __init__(self, port: Port, name: str, payloads: list[int], case: dict) -> None:
        self.port, self.waiting = port, list(payloads)
        self.cycles: list[int] = []
        self.chance, self.limit = random.Random(f"{case['seed']} {name}"), case["stalls"][0]
        self.offering = False

    def edge(self, cycle: int) -> None:
        """Take note of what the last cycle did."""
        if self.offering and int(self.port.ready.value):
            self.cycles.append(cycle)
            self.waiting.pop(0)
            self.offering = False
            self.port.valid.value = 0

    def drive(self) -> None:
        """Set up the next cycle."""
        if not self.offering and self.waiting and self.chance.random() < self.limit:
            self.offering = True
            self.port.payload.value = self.waiting[0]
            self.port.valid.value = 1


class Sink:
    """Accepts payloads, with a chance a cycle."""

    def __init__(self, port: Port, name: str, case: dict) -> None:
        self.port = port
        self.payloads: list[int] = []
        self.cycles: list[int] = []
        self.chance, self.limit = random.Random(f"{case['seed']} {name}"), case["stalls"][1]
        self.ready = False

    def edge(self, cycle: int) -> None:
        """Take what the last cycle delivered."""
        if self.ready and int(self.port.valid.value):
            self.payloads.append(int(self.port.payload.value))
            self.cycles.append(cycle)

    def drive(self) -> None:
        """Set up the next cycle."""
        self.ready = self.chance.random() < self.limit
        self.port.ready.value = int(self.ready)


@cocotb.test()
async def repeats(dut):
    """Run every case after a reset of its own."""
    Clock(dut.clk, 10, "ns").start()
    results = []
    for case in bench_parameters()["cases"]:
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        for path, value in case["constants"].items():
            getattr(dut, f"{case['name']}__{path.replace('.', '__')}").value = value
        sources = {n: Source(Port(dut, case["name"], n), n, p, case) for n, p in case["inputs"].items()}
        sinks = {n: Sink(Port(dut, case["name"], n), n, case) for n in case["outputs"]}
        streams = [*sources.values(), *sinks.values()]
        for cycle in range(case["cycles"]):
            for stream in streams:
                stream.drive()
            await RisingEdge(dut.clk)
            for stream in streams:
                stream.edge(cycle)
        results.append(
            {
                "outputs": {name: sink.payloads for name, sink in sinks.items()},
                "cycles": {name: stream.cycles for name, stream in {**sources, **sinks}.items()},
            }
        )
    bench_result({"cases": results})
