# amaranth: UnusedElaboratable=no
"""The drivers that come with the Verilog, in C and in Python, on the RTL: their frame is the golden model's."""

import ctypes
import importlib.util
import shutil
import subprocess

import numpy as np
import pytest

from cosim import cxxrtl, toolchain
from cosim.bus import Bus
from nerf.contract.memory import place
from nerf.contract.registers import (
    CAMERA_REGISTERS,
    CONTROL_START,
    IDENTITY,
    REGISTERS,
    STATUS_BUSY,
    STATUS_CODE_SHIFT,
    STATUS_DONE,
    STATUS_ERROR,
    ErrorCode,
)
from nerf.golden.frame import decode_scene, render_frame
from nerf.prepared import Prepared
from rtl.accelerator import Accelerator
from rtl.verilog.export import beside, describe, ports_of, write_files
from tests.cosim.test_accelerator import FOLDER
from tests.golden.models import look_at, small_model
from tests.sizes import SMALL

CAMERA = look_at((2.2, 1.0, 0.8), width=6, height=5)
TRIES = 1_000_000
PROGRAM = """\
#include "rtnerf_driver.h"
int check(struct rtnerf_bus bus) { return rtnerf_check(&bus); }
int render(struct rtnerf_bus bus, uint64_t scene, uint64_t frame, uint64_t lists, const uint32_t *view,
           uint32_t tries, struct rtnerf_counters *counters) {
  rtnerf_place(&bus, scene, frame, lists);
  rtnerf_view(&bus, view);
  rtnerf_start(&bus);
  int error = rtnerf_wait(&bus, tries);
  *counters = rtnerf_counters(&bus);
  return error;
}
"""
READ = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)
WRITE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32)


class CBus(ctypes.Structure):
    _fields_ = (("read", READ), ("write", WRITE), ("context", ctypes.c_void_p))


class Counters(ctypes.Structure):
    _fields_ = (
        ("cycles", ctypes.c_uint64),
        *((name, ctypes.c_uint32) for name in ("samples", "shaded", "cubes", "read_beats")),
    )


@pytest.fixture(scope="module")
def job():
    return Prepared(small_model(), SMALL)


@pytest.fixture(scope="module")
def golden(job):
    return render_frame(decode_scene(job.scene, SMALL), job.view(CAMERA))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What comes with the Verilog."""
    folder = tmp_path_factory.mktemp("generated")
    write_files(folder, beside(SMALL, describe(SMALL, ports_of(Accelerator(SMALL))), ["rtnerf.v"]))
    return folder


@pytest.fixture
def system(job):
    """The accelerator behind its bus, its memory with the scene, and what lies where."""
    regions = place(len(job.scene.data), job.view(CAMERA), SMALL)
    memory = np.zeros(max(1 << regions.end.bit_length(), 1 << 24), np.uint8)
    memory[: len(job.scene.data)] = np.frombuffer(job.scene.data, np.uint8)
    with Bus(*cxxrtl.design(SMALL), FOLDER, memory, regions) as bus:
        yield bus, memory, regions


def frame_of(memory, regions):
    data = memory[regions.frame_base :][: regions.frame_bytes]
    return data.view("<u2").reshape(CAMERA.height, CAMERA.width, 4)


@pytest.fixture(scope="module")
def c_driver(files):
    """The C driver as a library."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    (files / "program.c").write_text(PROGRAM)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic", "-shared", "-fPIC"]
    command = [gcc, *strict, "program.c", "-o", "program.so"]
    result = subprocess.run(command, cwd=files, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    library = ctypes.CDLL(str(files / "program.so"))
    library.check.argtypes = (CBus,)
    library.render.argtypes = (CBus, *3 * (ctypes.c_uint64,), ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
    return library


def c_bus(bus):
    return CBus(READ(lambda _, address: bus.read(address)), WRITE(lambda _, *access: bus.write(*access)))


def rendered_in_c(library, bus, job, places, tries=TRIES):
    """Render with the C driver; returns the error and the counters."""
    values, counters = job.view(CAMERA).values, Counters()
    words = np.array([values[name] & 0xFFFFFFFF for name in CAMERA_REGISTERS], np.uint32)
    return library.render(c_bus(bus), *places, words.ctypes.data, tries, ctypes.addressof(counters)), counters


def python_driver(files):
    spec = importlib.util.spec_from_file_location("rtnerf_driver", files / "rtnerf_driver.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Driver


def rendered_in_python(driver, bus, job, places, tries=TRIES):
    """Render with the Python driver; returns the counters."""
    accelerator = driver(bus.read, bus.write)
    accelerator.place(*places)
    view = job.view(CAMERA).values
    accelerator.set_view({name: view[name] for name in CAMERA_REGISTERS})
    return accelerator.render(tries)


# ---- On a model of the registers ----


class Registers:
    """Registers of an accelerator whose frame ends with a status at the third question, and what was written."""

    def __init__(self, status=STATUS_DONE, **values):
        self.values = {"identity": IDENTITY, "config_digest": SMALL.digest_word, **values}
        self.status, self.questions, self.written = status, 0, []

    def read(self, address):
        (name,) = (name for name, place in REGISTERS.items() if place == address)
        if name != "status":
            return self.values.get(name, address)
        self.questions += 1
        return self.status if self.questions >= 3 else STATUS_BUSY

    def write(self, address, value):
        self.written.append((address, value))


def test_both_drivers_write_the_same_registers_and_read_the_same_counters(job, files, c_driver):
    places = (0x1_0000_2000, 0x2_0000_4000, 0x8000)
    mine, others = Registers(), Registers()
    error, counters = rendered_in_c(c_driver, mine, job, places)
    found = rendered_in_python(python_driver(files), others, job, places)
    assert (error, mine.written) == (0, others.written)
    assert {name: getattr(counters, name) for name in found} == found
    assert found["cycles"] == REGISTERS["cycles_low"] | REGISTERS["cycles_high"] << 32
    written = dict(mine.written)
    values = job.view(CAMERA).values
    assert {name: written[REGISTERS[name]] for name in CAMERA_REGISTERS} == {
        name: values[name] & 0xFFFFFFFF for name in CAMERA_REGISTERS
    }
    for name, address in zip(("scene", "frame", "list"), places, strict=True):
        assert written[REGISTERS[f"{name}_low"]] | written[REGISTERS[f"{name}_high"]] << 32 == address
    assert mine.written[-2:] == [(REGISTERS["status"], 0), (REGISTERS["control"], CONTROL_START)]


def test_both_drivers_tell_of_errors_other_designs_and_frames_without_end(job, files, c_driver):
    places, driver = (0, 0, 0), python_driver(files)
    failed = STATUS_DONE | STATUS_ERROR | ErrorCode.TABLES << STATUS_CODE_SHIFT
    assert rendered_in_c(c_driver, Registers(failed), job, places)[0] == ErrorCode.TABLES
    with pytest.raises(RuntimeError, match=r"^the frame has ended with error 4, TABLES$"):
        rendered_in_python(driver, Registers(failed), job, places)
    assert rendered_in_c(c_driver, Registers(), job, places, tries=2)[0] == -1
    with pytest.raises(TimeoutError, match="within 2 questions"):
        rendered_in_python(driver, Registers(), job, places, tries=2)
    assert c_driver.check(c_bus(Registers())) == 0
    for number, name in ((1, "identity"), (2, "config_digest")):
        bus = Registers(**{name: 7})
        assert c_driver.check(c_bus(bus)) == number
        with pytest.raises(RuntimeError, match=f"^{name} must be 0x[0-9a-f]{{8}}, not 0x00000007$"):
            driver(bus.read, bus.write).check()


# ---- On the RTL ----


@pytest.mark.full
@pytest.mark.simulator
@pytest.mark.skipif(
    importlib.util.find_spec("pyosys") is None or toolchain.find_compiler() is None,
    reason="pyosys or the C++ compiler is not installed",
)
@pytest.mark.parametrize("language", ["C", "Python"])
def test_a_driver_renders_on_the_rtl(job, golden, system, files, c_driver, language):
    bus, memory, regions = system
    places = (0, regions.frame_base, regions.list_base)
    if language == "C":
        assert c_driver.check(c_bus(bus)) == 0
        error, counters = rendered_in_c(c_driver, bus, job, places)
        assert error == 0
        found = {name: getattr(counters, name) for name in ("cycles", "samples", "shaded")}
    else:
        python_driver(files)(bus.read, bus.write).check()
        found = rendered_in_python(python_driver(files), bus, job, places)
    np.testing.assert_array_equal(frame_of(memory, regions), golden.pixels)
    assert (found["samples"], found["shaded"]) == (len(golden.samples), len(golden.shaded))
    assert found["cycles"] > 1000
