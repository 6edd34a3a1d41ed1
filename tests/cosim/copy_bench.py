"""cocotb bench of the copy engine; runs inside the Verilog simulator."""

import itertools
import logging
import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam
from copy_engine import BURST_BYTES, BURSTS, CYCLES, IDLE, SOURCE, START, TARGET, WORD_BYTES

from cosim.simulation import bench_parameters, bench_result


def coin(seed, chance):
    random_ = random.Random(seed)
    return (random_.random() < chance for _ in itertools.count())


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def copies(dut):
    parameters = bench_parameters()
    logging.getLogger("cocotb.bench").setLevel(logging.WARNING)
    size = parameters["bursts"] * BURST_BYTES
    host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "control"), dut.mem_clk, dut.rst)
    memory = None
    if parameters["memory"] == "cocotbext":
        memory = AxiRam(AxiBus.from_prefix(dut, "axi"), dut.mem_clk, dut.rst, size=1 << 20)
        memory.write(0, bytes.fromhex(parameters["data"]))
        channels = (
            memory.read_if.ar_channel, memory.read_if.r_channel, memory.write_if.aw_channel,
            memory.write_if.w_channel, memory.write_if.b_channel,
        )  # fmt: skip
        if parameters["pause"]:
            for number, channel in enumerate(channels):
                channel.set_pause_generator(coin(cocotb.RANDOM_SEED + number, parameters["pause"]))

    for _ in range(4):
        await RisingEdge(dut.mem_clk)
    dut.rst.value = 0
    await RisingEdge(dut.mem_clk)
    settings = {SOURCE: 0, TARGET: size, BURSTS: parameters["bursts"], IDLE: parameters["idle"]}
    for offset, value in settings.items():
        await host.write_dword(offset, value)
    await host.write_dword(START, 1)
    dut.host_active.value = 0
    await RisingEdge(dut.interrupt)
    dut.host_active.value = 1
    cycles = await host.read_dword(CYCLES)
    result = {"cycles": cycles}
    if memory is not None:
        result["copy"] = memory.read(size, size).hex()
    else:
        dut.dump_first.value = size // WORD_BYTES
        dut.dump_last.value = 2 * size // WORD_BYTES - 1
        await RisingEdge(dut.mem_clk)
        dut.dump_memory.value = 1
        await RisingEdge(dut.mem_clk)
    bench_result(result)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def fails(dut):
    await RisingEdge(dut.mem_clk)
    raise AssertionError("this test fails on purpose")


@cocotb.test()
async def hangs(dut):
    await RisingEdge(dut.mem_clk)
    await ReadOnly()
    while True:
        pass
