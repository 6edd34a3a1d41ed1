"""The register table and the ports in IP-XACT (IEEE 1685-2014), for tools that put systems together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree

from nerf.contract.config import AcceleratorConfig
from nerf.contract.registers import IDENTITY, REGISTERS, TABLE, Access, Flag, Register

NAMESPACE = "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"
_ACCESS = {
    Access.READ_WRITE: {"access": "read-write"},
    Access.READ_ONLY: {"access": "read-only"},
    Access.WRITE_ONLY: {"access": "write-only"},
    Access.CLEARED: {"access": "read-write", "modifiedWriteValue": "clear"},
}
_DIRECTION = {"input": "in", "output": "out"}


def ip_xact(config: AcceleratorConfig, top: str, ports: Iterable[Mapping[str, Any]], version: str) -> str:
    """Return the component: its memory map, of 32-bit registers on the bus ``control``, and its ports.

    Parameters
    ----------
    config : AcceleratorConfig
    top : str
        Name of the top module.
    ports : iterable of mapping
        ``name``, ``direction`` and ``width`` of each, as `rtl.verilog.export.ports_of` returns them.
    version : str
        Of the component.
    """
    component = ElementTree.Element("component", {"xmlns": NAMESPACE})
    for name, value in (("vendor", "rtnerf"), ("library", "accelerator"), ("name", top), ("version", version)):
        _add(component, name, value)
    memory_map = _add(_add(component, "memoryMaps"), "memoryMap", name="control")
    block = _add(memory_map, "addressBlock", name="registers", baseAddress="0")
    size = 1 << (4 * len(REGISTERS) - 1).bit_length()
    for name, value in (("range", str(size)), ("width", "32"), ("usage", "register")):
        _add(block, name, value)
    _add(memory_map, "addressUnitBits", "8")
    resets = {"identity": IDENTITY, "config_digest": config.digest_word}
    for register in TABLE:
        for name in register.names:
            _register(block, register, name, resets.get(name, 0))
    listed = _add(_add(component, "model"), "ports")
    for port in ports:
        wire = _add(_add(listed, "port", name=port["name"]), "wire", direction=_DIRECTION[port["direction"]])
        if port["width"] > 1:
            _add(_add(wire, "vectors"), "vector", left=str(port["width"] - 1), right="0")
    ElementTree.indent(component)
    return ElementTree.tostring(component, encoding="unicode", xml_declaration=True) + "\n"


def _register(block: ElementTree.Element, register: Register, name: str, reset: int) -> None:
    text = f"{register.text}: {name[-1]}" if register.vector else register.text
    made = _add(block, "register", name=name, description=text, addressOffset=f"'h{REGISTERS[name]:x}", size="32")
    whole = Flag("value", (1 << register.format.width) - 1, _number(register))
    for flag in register.flags or (whole,):
        field = _add(made, "field", name=flag.name, description=flag.text, bitOffset=str(flag.first))
        _add(_add(_add(field, "resets"), "reset"), "value", f"'h{reset:x}")
        _add(field, "bitWidth", str(flag.mask.bit_count()))
        for key, value in _ACCESS[flag.access or register.access].items():
            _add(field, key, value)


def _number(register: Register) -> str:
    fmt = register.format
    return f"{'signed' if fmt.signed else 'unsigned'}, {fmt.integer} integer bits, {fmt.fraction} fraction bits"


def _add(parent: ElementTree.Element, tag: str, text: str | None = None, **children: str) -> ElementTree.Element:
    """Add an element with a text, or with children of one text each; return it."""
    made = ElementTree.SubElement(parent, tag)
    made.text = text
    for name, value in children.items():
        ElementTree.SubElement(made, name).text = value
    return made
