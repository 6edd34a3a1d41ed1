"""The register table as others read it: SystemRDL, C, the document."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from nerf.contract.config import load_config
from nerf.contract.registers import (
    CAMERA_REGISTERS,
    CAMERA_TABLE,
    IDENTITY,
    REGISTERS,
    STATUS_CODE_SHIFT,
    TABLE,
    ErrorCode,
)
from rtl.verilog.export import DRIVERS, core_file
from rtl.verilog.ip_xact import NAMESPACE, ip_xact
from rtl.verilog.register_map import c_header, document, systemrdl

CFG = load_config("tiny")


def test_addresses_are_the_words_from_zero_on():
    assert list(REGISTERS.values()) == list(range(0, 4 * len(REGISTERS), 4))
    assert len(REGISTERS) == sum(len(register.names) for register in TABLE), "a name occurs twice"


def test_a_compiler_of_systemrdl_reads_the_table(tmp_path):
    systemrdl_compiler = pytest.importorskip("systemrdl", reason="systemrdl-compiler is not installed")
    path = tmp_path / "rtnerf.rdl"
    path.write_text(systemrdl(CFG))
    compiler = systemrdl_compiler.RDLCompiler()
    compiler.compile_file(str(path))
    top = compiler.elaborate().top
    assert {node.inst_name: node.absolute_address for node in top.registers()} == REGISTERS
    for register in TABLE:
        for name in register.names:
            node = top.get_child_by_name(name)
            fields = {field.inst_name: field for field in node.fields()}
            if register.flags:
                assert {n: (1 << f.high + 1) - (1 << f.low) for n, f in fields.items()} == {
                    flag.name: flag.mask for flag in register.flags
                }
                continue
            (field,) = fields.values()
            fmt = register.format
            told = field.get_property("is_signed"), field.get_property("intwidth"), field.get_property("fracwidth")
            assert told == (fmt.signed, fmt.integer + fmt.signed, fmt.fraction)
            assert field.width == fmt.width
            assert field.is_sw_writable == (register.access.value == "read-write")
    resets = {name: top.find_by_path(f"{name}.value").get_property("reset") for name in ("identity", "config_digest")}
    assert resets == {"identity": IDENTITY, "config_digest": CFG.digest_word}
    assert not top.get_child_by_name("control").has_sw_readable
    assert not top.find_by_path("status.busy").is_sw_writable


def test_ip_xact_says_what_systemrdl_says(tmp_path):
    systemrdl_compiler = pytest.importorskip("systemrdl", reason="systemrdl-compiler is not installed")
    peakrdl_ipxact = pytest.importorskip("peakrdl_ipxact", reason="peakrdl-ipxact is not installed")
    ports = [
        {"name": "clk", "direction": "input", "width": 1},
        {"name": "axi__rdata", "direction": "input", "width": 128},
    ]
    (tmp_path / "rtnerf.rdl").write_text(systemrdl(CFG))
    (tmp_path / "rtnerf.xml").write_text(ip_xact(CFG, "rtnerf", ports, "1.2"))

    def registers(path):
        compiler = systemrdl_compiler.RDLCompiler()
        if path.suffix == ".xml":
            peakrdl_ipxact.IPXACTImporter(compiler).import_file(str(path))
        else:
            compiler.compile_file(str(path))
        names = ("sw", "onwrite", "reset")
        return {
            (node.inst_name, node.absolute_address): {
                field.inst_name: (field.low, field.high, *map(field.get_property, names)) for field in node.fields()
            }
            for node in compiler.elaborate().top.descendants()
            if isinstance(node, systemrdl_compiler.node.RegNode)
        }

    assert registers(tmp_path / "rtnerf.xml") == registers(tmp_path / "rtnerf.rdl")
    root = ElementTree.parse(tmp_path / "rtnerf.xml").getroot()
    found = [[part.text for part in port.iter() if part.text.strip()] for port in root.iter(f"{{{NAMESPACE}}}port")]
    assert found == [["clk", "in"], ["axi__rdata", "in", "127", "0"]]


def test_a_c_compiler_reads_the_header(tmp_path):
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "rtnerf.h").write_text(c_header(CFG))
    (tmp_path / "rtnerf_driver.h").write_text((DRIVERS / "rtnerf_driver.h").read_text())
    checks = [f'_Static_assert(RTNERF_{name.upper()} == {address}u, "{name}");' for name, address in REGISTERS.items()]
    checks += [f'_Static_assert(RTNERF_ERROR_{code.name} == {code:d}, "");' for code in ErrorCode]
    checks += [
        f'_Static_assert(RTNERF_{register.name.upper()}_FRACTION == {register.format.fraction}, "");'
        for register in CAMERA_TABLE
        if register.format.fraction
    ]
    checks += [
        f'_Static_assert(RTNERF_STATUS_CODE == 0xff << {STATUS_CODE_SHIFT}, "");',
        f'_Static_assert(RTNERF_CONFIG_DIGEST_VALUE == {CFG.digest_word}u, "");',
    ]
    checks += [
        f'_Static_assert(RTNERF_VIEW == {REGISTERS[CAMERA_REGISTERS[0]]}u, "");',
        f'_Static_assert(RTNERF_VIEW_WORDS == {len(CAMERA_REGISTERS)}u, "");',
    ]
    (tmp_path / "check.c").write_text('#include "rtnerf_driver.h"\n#include "rtnerf.h"\n' + "\n".join(checks) + "\n")
    command = [gcc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", str(tmp_path / "check.c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_registers_of_a_view_lie_without_a_gap():
    places = [REGISTERS[name] for name in CAMERA_REGISTERS]
    assert places == list(range(places[0], places[0] + 4 * len(places), 4))


def test_the_core_names_the_files_and_the_top():
    core = yaml.safe_load(core_file(CFG, "rtnerf_chip", ["rtnerf.v", "rtnerf_macros.v"]).removeprefix("CAPI=2:\n"))
    assert core["name"] == f"rtnerf:accelerator:rtnerf:{IDENTITY & 0xFF}.0.0"
    assert core["filesets"]["rtl"]["files"] == ["rtnerf.v", "rtnerf_macros.v"]
    assert {target["toplevel"] for target in core["targets"].values()} == {"rtnerf_chip"}


def test_the_document_is_the_table():
    path = Path(__file__).parents[3] / "docs" / "registers.md"
    assert path.read_text(encoding="utf-8") == document(), "python -m rtl.verilog.register_map > docs/registers.md"
    for name, address in REGISTERS.items():
        assert re.search(rf"^\| {address:#05x} \| `{name}`", document(), re.M) or name.endswith(("_y", "_z"))
