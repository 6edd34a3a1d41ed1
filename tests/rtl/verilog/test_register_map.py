"""The register table as others read it: SystemRDL, C, the document."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nerf.contract.config import load_config
from nerf.contract.registers import CAMERA_TABLE, IDENTITY, REGISTERS, STATUS_CODE_SHIFT, TABLE, ErrorCode
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


def test_a_c_compiler_reads_the_header(tmp_path):
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "rtnerf.h").write_text(c_header(CFG))
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
    (tmp_path / "check.c").write_text('#include "rtnerf.h"\n#include "rtnerf.h"\n' + "\n".join(checks) + "\n")
    command = [gcc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", str(tmp_path / "check.c")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_document_is_the_table():
    path = Path(__file__).parents[3] / "docs" / "registers.md"
    assert path.read_text(encoding="utf-8") == document(), "python -m rtl.verilog.register_map > docs/registers.md"
    for name, address in REGISTERS.items():
        assert re.search(rf"^\| {address:#05x} \| `{name}`", document(), re.M) or name.endswith(("_y", "_z"))
