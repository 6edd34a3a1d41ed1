"""cocotb bench of the whole accelerator: a host that programs it, a memory that serves it, one frame.

Runs inside the Verilog simulator; see `cosim.run` for the other side. Parameters: ``scene`` (file), ``frame_base``,
``frame_bytes``, ``list_base``, ``memory`` (``cocotbext`` or ``verilog``), ``memory_bytes``, ``pause``, ``registers``
(name to value), ``frame`` (file that the frame is written to), ``dump_words`` (first and last of the Verilog memory's
words that are written out), ``abort_after`` (cycles until the host aborts the first
frame, or null), ``render_again`` (whether a second frame follows), ``watchdog_cycles``.
"""

import itertools
import logging
import random
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge, Timer, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam

from cosim.simulation import bench_parameters, bench_result
from cosim.wrapper import PERIOD_NS
from nerf.contract.registers import CONTROL_ABORT, CONTROL_START, REGISTERS


def _coin(seed: int, chance: float):
    generator = random.Random(seed)
    return (generator.random() < chance for _ in itertools.count())


def _memory(dut, parameters) -> AxiRam:
    memory = AxiRam(AxiBus.from_prefix(dut, "axi"), dut.mem_clk, dut.rst, size=parameters["memory_bytes"])
    memory.write(0, Path(parameters["scene"]).read_bytes())
    channels = (
        memory.read_if.ar_channel,
        memory.read_if.r_channel,
        memory.write_if.aw_channel,
        memory.write_if.w_channel,
        memory.write_if.b_channel,
    )
    for number, channel in enumerate(channels):
        if parameters["pause"]:
            channel.set_pause_generator(_coin(cocotb.RANDOM_SEED + number, parameters["pause"]))
    return memory


async def _frame(dut, host, parameters, abort_after) -> None:
    """Start a frame, abort it after some cycles if so wished, and wait for the interrupt."""
    await host.write_dword(REGISTERS["control"], CONTROL_START)
    dut.host_active.value = 0
    if abort_after is not None:
        await Timer(abort_after * PERIOD_NS, "ns")
        dut.host_active.value = 1
        await RisingEdge(dut.mem_clk)
        await host.write_dword(REGISTERS["control"], CONTROL_ABORT)
        dut.host_active.value = 0
    if not dut.interrupt.value:
        await with_timeout(RisingEdge(dut.interrupt), parameters["watchdog_cycles"] * PERIOD_NS, "ns")
    dut.host_active.value = 1
    await RisingEdge(dut.mem_clk)


@cocotb.test()
async def renders(dut):
    """Program the registers, start, wait for the interrupt, read status, counters and the frame."""
    parameters = bench_parameters()
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "control"), dut.mem_clk, dut.rst)
    memory = _memory(dut, parameters) if parameters["memory"] == "cocotbext" else None

    for _ in range(4):
        await RisingEdge(dut.mem_clk)
    dut.rst.value = 0
    await RisingEdge(dut.mem_clk)
    settings = {
        **parameters["registers"],
        "scene_low": 0,
        "scene_high": 0,
        "frame_low": parameters["frame_base"],
        "frame_high": 0,
        "list_low": parameters["list_base"],
        "list_high": 0,
        "interrupt_enable": 1,
    }
    for name, value in settings.items():
        await host.write_dword(REGISTERS[name], value & 0xFFFFFFFF)
    await _frame(dut, host, parameters, parameters["abort_after"])
    if parameters["render_again"]:
        await _frame(dut, host, parameters, None)
    names = ("status", "cycles_low", "cycles_high", "samples", "shaded", "cubes", "read_beats", "config_digest")
    result = {name: int(await host.read_dword(REGISTERS[name])) for name in names}
    if memory is not None:
        Path(parameters["frame"]).write_bytes(memory.read(parameters["frame_base"], parameters["frame_bytes"]))
    else:
        first, last = parameters["dump_words"]
        dut.dump_first.value, dut.dump_last.value = first, last
        await RisingEdge(dut.mem_clk)
        dut.dump_memory.value = 1
        await RisingEdge(dut.mem_clk)
        await RisingEdge(dut.mem_clk)
    bench_result(result)
