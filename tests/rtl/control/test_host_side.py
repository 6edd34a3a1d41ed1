"""Control registers and frame controller."""

import random

import pytest
from amaranth.hdl import ResetInserter, Signal

from cosim.unit import play
from nerf.contract.config import load_config
from nerf.contract.registers import (
    CAMERA_REGISTERS,
    CONTROL_ABORT,
    CONTROL_START,
    IDENTITY,
    REGISTERS,
    STATUS_BUSY,
    STATUS_DONE,
    STATUS_ERROR,
    ErrorCode,
)
from rtl.control.control_registers import ControlRegisters, view_fields
from rtl.control.frame_controller import ERRORS, FrameController

CFG = load_config("tiny")


class Host:
    """An AXI4-Lite master with random stalls."""

    def __init__(self, ctx, bus, seed=0):
        self.ctx, self.bus, self.chance = ctx, bus, random.Random(seed)

    async def _stall(self):
        while self.chance.random() < 0.4:
            await self.ctx.tick()

    async def write(self, name, value):
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.awaddr, REGISTERS[name] if isinstance(name, str) else name)
        ctx.set(bus.awvalid, 1)
        await self._stall()
        ctx.set(bus.wdata, value & 0xFFFFFFFF)
        ctx.set(bus.wvalid, 1)
        await ctx.tick().until(bus.awready & bus.wready)
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        await self._stall()
        ctx.set(bus.bready, 1)
        await ctx.tick().until(bus.bvalid)
        ctx.set(bus.bready, 0)

    async def read(self, name):
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.araddr, REGISTERS[name] if isinstance(name, str) else name)
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        await self._stall()
        ctx.set(bus.rready, 1)
        (data,) = await ctx.tick().sample(bus.rdata).until(bus.rvalid)
        ctx.set(bus.rready, 0)
        return data


def test_registers_hold_the_view_and_ignore_writes_while_busy():
    registers = ControlRegisters(CFG)

    async def bench(ctx):
        host = Host(ctx, registers.control)
        assert await host.read("identity") == IDENTITY
        assert await host.read("config_digest") == CFG.digest_word
        chance = random.Random(2)
        values = {name: chance.getrandbits(32) for name in [*CAMERA_REGISTERS, "scene_low", "frame_low", "list_low"]}
        for name in values:
            assert await host.read(name) == 0
        for name, value in values.items():
            await host.write(name, value)
        for busy in (0, 1):
            ctx.set(registers.busy, busy)
            for name, value in values.items():
                if busy:
                    await host.write(name, ~value)
                assert await host.read(name) == value
                if name in CAMERA_REGISTERS:
                    field = view_fields(registers.view)[name]
                    width = len(field if not hasattr(field, "as_value") else field.as_value())
                    assert ctx.get(field) & (1 << width) - 1 == value & (1 << width) - 1, name
        for base in ("scene", "frame", "list"):
            assert ctx.get(getattr(registers, f"{base}_base")) == values[f"{base}_low"]
        await host.write(0x3FC, 1)
        assert await host.read(0x3FC) == 0

    play(registers, bench)


@pytest.mark.parametrize("read", ["near", "far"])
def test_a_register_is_read_after_it_is_written(read):
    registers = ControlRegisters(CFG)

    async def bench(ctx):
        host, bus = Host(ctx, registers.control), registers.control
        for name in ("near", "far"):
            await host.write(name, 1)
        for port, value in {"awaddr": REGISTERS["near"], "wdata": 2, "araddr": REGISTERS[read], "bready": 1}.items():
            ctx.set(getattr(bus, port), value)
        for port in ("awvalid", "wvalid", "arvalid"):
            ctx.set(getattr(bus, port), 1)
        ctx.set(bus.rready, 1)
        ready = []
        while not any(ready):
            ready.append(ctx.get(bus.arready))
            await ctx.tick()
            ctx.set(bus.awvalid, 0)
        assert ready == ([0, 1] if read == "near" else [1])
        assert (ctx.get(bus.rvalid), ctx.get(bus.rdata)) == (1, 2 if read == "near" else 1)

    play(registers, bench)


def test_what_was_written_before_a_reset_is_not_read():
    registers, reset = ControlRegisters(CFG), Signal()

    async def bench(ctx):
        host = Host(ctx, registers.control)
        for name in ("near", "list_high"):
            await host.write(name, 5)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        await host.write("far", 6)
        assert [await host.read(name) for name in ("near", "list_high", "far")] == [0, 0, 6]

    play(ResetInserter(reset)(registers), bench)


def test_start_interrupt_and_status():
    registers = ControlRegisters(CFG)

    async def bench(ctx):
        host = Host(ctx, registers.control)
        await host.write("interrupt_enable", 1)

        async def strobe(value):
            bus = registers.control
            ctx.set(bus.awaddr, REGISTERS["control"])
            ctx.set(bus.wdata, value)
            ctx.set(bus.awvalid, 1)
            ctx.set(bus.wvalid, 1)
            ctx.set(bus.bready, 1)
            seen = ctx.get(registers.start), ctx.get(registers.abort)
            await ctx.tick()
            ctx.set(bus.awvalid, 0)
            ctx.set(bus.wvalid, 0)
            await ctx.tick()
            ctx.set(bus.bready, 0)
            return seen

        assert await strobe(CONTROL_ABORT) == (0, 0), "nothing to abort while idle"
        assert await strobe(CONTROL_START) == (1, 0)
        ctx.set(registers.busy, 1)
        assert await strobe(CONTROL_START | CONTROL_ABORT) == (0, 1)
        assert await host.read("status") == STATUS_BUSY
        ctx.set(registers.code, ErrorCode.RECORD)
        ctx.set(registers.finished, 1)
        await ctx.tick()
        ctx.set(registers.finished, 0)
        ctx.set(registers.busy, 0)
        assert ctx.get(registers.interrupt)
        assert await host.read("status") == STATUS_DONE | STATUS_ERROR | ErrorCode.RECORD << 8
        await host.write("status", 0)
        assert not ctx.get(registers.interrupt)
        assert await host.read("status") == 0

    play(registers, bench)


def test_controller_loads_then_renders():
    controller = FrameController()

    async def bench(ctx):
        ctx.set(controller.bus_idle, 1)
        ctx.set(controller.start, 1)
        await ctx.tick()
        ctx.set(controller.start, 0)
        await ctx.tick().until(controller.load)
        await ctx.tick().repeat(3)
        assert not ctx.get(controller.render)
        ctx.set(controller.loaded, 1)
        assert ctx.get(controller.render)
        await ctx.tick()
        ctx.set(controller.loaded, 0)
        await ctx.tick().repeat(3)
        assert not ctx.get(controller.finished)
        ctx.set(controller.rendered, 1)
        await ctx.tick()
        ctx.set(controller.rendered, 0)
        (code,) = await ctx.tick().sample(controller.code).until(controller.finished)
        assert code == ErrorCode.NONE
        assert not ctx.get(controller.busy)

    play(controller, bench)


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_drains_the_bus_and_is_reported(name):
    controller = FrameController()

    async def bench(ctx):
        ctx.set(controller.start, 1)
        await ctx.tick()
        ctx.set(controller.start, 0)
        await ctx.tick().repeat(5)
        strobe = getattr(controller, f"error_{name}")
        ctx.set(strobe, 1)
        await ctx.tick()
        ctx.set(strobe, 0)
        await ctx.tick().repeat(20)
        assert ctx.get(controller.drop), "waits for the bus"
        assert ctx.get(controller.busy)
        ctx.set(controller.bus_idle, 1)
        (code,) = await ctx.tick().sample(controller.code).until(controller.finished)
        assert code == ERRORS[name]

    play(controller, bench)
