"""A small system in plain Verilog: the accelerator, a memory with a scene, and a host that renders one view of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cosim.wrapper import AXI_SIGNALS, Port, bench_template, bench_text, memory_words, ports_of
from nerf.cameras import Camera
from nerf.contract.memory import Regions, place
from nerf.contract.registers import CAMERA_REGISTERS, CONTROL_START, REGISTERS, STATUS_ERROR, View
from nerf.contract.scene_image import BEAT
from nerf.golden.frame import render_frame
from nerf.prepared import Prepared
from rtl.verilog.export import CORE_VERSION, TOP, write_files

SOC = "soc"
"""Name of the top module, of its folder and of its core."""


def write_soc(folder: Path, job: Prepared, camera: Camera, sidecar: Mapping[str, Any]) -> list[str]:
    """Write the system beside the accelerator's Verilog, which is not written; return the names of its files.

    ``soc.v`` is the top, ``soc.core`` tells FuseSoC how it is simulated. It prints whether the frame is the integer
    model's, and ends with an error where it is not.

    Parameters
    ----------
    folder : Path
    job : Prepared
        Scene and configuration.
    camera : Camera
        Of a few pixels: simulating RTL is slow.
    sidecar : mapping
        The description of the Verilog.

    Raises
    ------
    InputError
        A model or view that the accelerator cannot take.
    """
    view = job.view(camera)
    regions = place(len(job.scene.data), view, job.config)
    pixels = render_frame(job.decoded, view).pixels.astype("<u2").tobytes()
    writes = _writes(view, regions)
    contents = {
        f"{SOC}.v": _verilog(ports_of(sidecar), 1 << regions.end.bit_length()),
        "axi_memory.v": bench_text("axi_memory.v"),
        f"{SOC}.vh": _sizes(len(writes), regions),
        "scene.hex": memory_words(job.scene.data, BEAT),
        "writes.hex": "".join(f"{address:08x}{value & 0xFFFFFFFF:08x}\n" for address, value in writes),
        "frame.hex": memory_words(pixels, BEAT),
    }
    write_files(folder, {**contents, f"{SOC}.core": _core(list(contents))})
    return [*contents, f"{SOC}.core"]


def _writes(view: View, regions: Regions) -> list[tuple[int, int]]:
    """What the host writes: address and value of each register, the start of the frame last."""
    values = {name: view.values[name] for name in CAMERA_REGISTERS}
    for name, base in (("scene", 0), ("frame", regions.frame_base), ("list", regions.list_base)):
        values |= {f"{name}_low": base, f"{name}_high": 0}
    values |= {"interrupt_enable": 1, "control": CONTROL_START}
    return [(REGISTERS[name], value) for name, value in values.items()]


def _verilog(ports: Sequence[Port], memory_bytes: int) -> str:
    by_name = {port.name: port for port in ports}
    used = [port for port in ports if not port.name.startswith("probe_") and port.name not in ("clk", "rst")]
    widths = {port.name: f"[{port.width - 1}:0] " if port.width > 1 else "" for port in used}
    driven = {port.name for port in used if port.direction == "input" and port.name.startswith("control__")}
    parameters = {
        "ADDRESS": "axi__araddr", "DATA": "axi__rdata", "READ_ID": "axi__arid", "WRITE_ID": "axi__awid",
    }  # fmt: skip
    sizes = [f".{name}({by_name[port].width})" for name, port in parameters.items()]
    channels = [f".{signal}(axi__{signal})" for signal in AXI_SIGNALS]
    no_dump = [".dump(1'b0), .dump_first(32'd0), .dump_last(32'd0)"]
    memory = ",\n    ".join([".clk(clk), .rst(rst)", *no_dump, *channels])
    return bench_template("soc.v").substitute(
        top=TOP,
        declarations="\n  ".join(
            f"{'reg' if port.name in driven else 'wire'} {widths[port.name]}{port.name};" for port in used
        ),
        connections=",\n    ".join([".clk(clk)", ".rst(rst)", *(f".{port.name}({port.name})" for port in used)]),
        memory=f"axi_memory #({', '.join([*sizes, f'.BYTES({memory_bytes})'])}) memory (\n    {memory}\n  );",
    )


def _sizes(writes: int, regions: Regions) -> str:
    found: Mapping[str, Any] = {
        "WRITES": writes,
        "FRAME_WORD": regions.frame_base // BEAT,
        "FRAME_WORDS": -(-regions.frame_bytes // BEAT),
        "STATUS": f"32'h{REGISTERS['status']:x}",
        "CYCLES": f"32'h{REGISTERS['cycles_low']:x}",
        "ERROR": f"32'h{STATUS_ERROR:x}",
    }
    return "".join(f"`define SOC_{name} {value}\n" for name, value in found.items())


def _core(names: Sequence[str]) -> str:
    kinds = {".v": "file_type: verilogSource", ".vh": "is_include_file: true, file_type: verilogSource"}
    files = [
        f"      - {name}: {{{kinds.get(Path(name).suffix, f'file_type: user, copyto: {name}')}}}" for name in names
    ]
    lines = [
        "CAPI=2:",
        f"name: rtnerf:accelerator:{SOC}:{CORE_VERSION}",
        'description: "RT-NeRF accelerator with a memory and a host that renders one view"',
        "filesets:",
        "  soc:",
        f"    depend: [rtnerf:accelerator:{TOP}]",
        "    files:",
        *files,
        "targets:",
        "  default: &default",
        "    filesets: [soc]",
        f"    toplevel: {SOC}",
        "  sim:",
        "    <<: *default",
        "    default_tool: verilator",
        "    flow: sim",
        "    flow_options:",
        "      tool: verilator",
        "      mode: binary",
        "      verilator_options: [--timing, -Wno-fatal]",
    ]
    return "\n".join([*lines, ""])
