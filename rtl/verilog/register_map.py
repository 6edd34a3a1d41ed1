"""The register table for others: SystemRDL and a C header beside the Verilog, and ``docs/registers.md``; see `ip_xact`.

``python -m rtl.verilog.register_map`` prints the document.
"""

from nerf.contract.config import AcceleratorConfig
from nerf.contract.formats import Format
from nerf.contract.registers import CAMERA_REGISTERS, IDENTITY, REGISTERS, TABLE, Access, ErrorCode, Flag, Register

_RDL_ACCESS = {
    Access.READ_WRITE: ("sw = rw;", "hw = r;"),
    Access.READ_ONLY: ("sw = r;", "hw = w;"),
    Access.WRITE_ONLY: ("sw = w;", "hw = r;", "singlepulse;"),
    Access.CLEARED: ("sw = rw;", "hw = w;", "onwrite = wclr;"),
}


def systemrdl(config: AcceleratorConfig) -> str:
    """Return the registers in SystemRDL 2.0.

    Fixed point is told by the properties ``is_signed``, ``intwidth`` (the sign included) and ``fracwidth``.
    """
    resets = {"identity": IDENTITY, "config_digest": config.digest_word}
    lines = [
        "property is_signed { component = field; type = boolean; };",
        "property intwidth { component = field; type = longint unsigned; };",
        "property fracwidth { component = field; type = longint unsigned; };",
        "",
        "addrmap rtnerf {",
        '  name = "RT-NeRF accelerator";',
        "  default regwidth = 32;",
    ]
    for register in TABLE:
        for name in register.names:
            lines += ["  reg {", f'    desc = "{_text(register, name)}";']
            lines += [f"    {line}" for line in _fields(register, resets.get(name, 0))]
            lines.append(f"  }} {name} @ {REGISTERS[name]:#05x};")
    return "\n".join([*lines, "};", ""])


def _fields(register: Register, reset: int) -> list[str]:
    if register.flags:
        return [_field(flag, flag.access or register.access, [f'desc = "{flag.text}";'], 0) for flag in register.flags]
    fmt = register.format
    number = [f"is_signed = {str(fmt.signed).lower()};", f"intwidth = {fmt.integer + fmt.signed};"]
    value = Flag("value", (1 << fmt.width) - 1, "")
    return [_field(value, register.access, [*number, f"fracwidth = {fmt.fraction};"], reset)]


def _field(flag: Flag, access: Access, properties: list[str], reset: int) -> str:
    inside = " ".join([*_RDL_ACCESS[access], *properties])
    return f"field {{ {inside} }} {flag.name}[{flag.mask.bit_length() - 1}:{flag.first}] = {reset:#x};"


def _text(register: Register, name: str) -> str:
    return f"{register.text}: {name[-1]}" if register.vector else register.text


def c_header(config: AcceleratorConfig) -> str:
    """Return the registers in C: byte addresses, fraction bits, bits of flags, values to expect, error codes."""
    lines = [
        "/* Registers of the RT-NeRF accelerator. */",
        "#ifndef RTNERF_H",
        "#define RTNERF_H",
        "",
        "/* NAME: byte address. NAME_FRACTION: bits behind the binary point. NAME_FLAG: its bits. */",
    ]
    for register in TABLE:
        lines += [_define(name, f"{REGISTERS[name]:#05x}u", _text(register, name)) for name in register.names]
        if register.format.fraction:
            lines.append(_define(f"{register.name}_fraction", str(register.format.fraction), ""))
        lines += [_define(f"{register.name}_{flag.name}", f"{flag.mask:#x}u", flag.text) for flag in register.flags]
    lines += [
        "",
        "/* The registers of a view: the address of the first, and how many there are, without a gap. */",
        _define("view", f"{REGISTERS[CAMERA_REGISTERS[0]]:#05x}u", ""),
        _define("view_words", f"{len(CAMERA_REGISTERS)}u", ""),
        "",
        _define("identity_value", f"{IDENTITY:#010x}u", ""),
        _define("config_digest_value", f"{config.digest_word:#010x}u", ""),
        "",
        "enum rtnerf_error {",
        *(f"  RTNERF_ERROR_{code.name} = {code:d}," for code in ErrorCode),
        "};",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _define(name: str, value: str, text: str) -> str:
    return f"#define RTNERF_{name.upper()} {value}" + (f" /* {text} */" if text else "")


_DOCUMENT = """\
# Registers

Printed by `python -m rtl.verilog.register_map` from the table in `nerf/contract/registers.py`; a test holds it to it.
`rtnerf generate` writes the same as SystemRDL (`rtnerf.rdl`), IP-XACT (`rtnerf.xml`) and a C header (`rtnerf.h`) beside
the Verilog, with drivers in C and Python ([how to use them](howto.md)).

All registers are 32 bits on AXI4-Lite and are written whole: byte strobes are ignored. A number is in the low bits;
*signed 13.16* has a sign, 13 integer bits and 16 fraction bits. Addresses and the camera take writes only while no
frame runs; they read 0 until they are written, then all 32 bits that were. Other addresses read 0.

| address | register | access | format | meaning |
| --- | --- | --- | --- | --- |
"""


def document() -> str:
    """Return ``docs/registers.md``."""
    rows = []
    for register in TABLE:
        first, *others = register.names
        names = ", ".join([f"`{first}`", *(f"`{name[-2:]}`" for name in others)])
        form = "flags" if register.flags else _format(register.format)
        text = register.text + "".join(f"; `{flag.name}` ({_bits(flag)}): {flag.text}" for flag in register.flags)
        rows.append(f"| {REGISTERS[first]:#05x} | {names} | {register.access.value} | {form} | {text} |")
    codes = [f"| {code:d} | `{code.name}` | {code.text} |" for code in ErrorCode]
    return _DOCUMENT + "\n".join([*rows, "", "| code | error | meaning |", "| --- | --- | --- |", *codes, ""])


def _format(fmt: Format) -> str:
    return f"{'signed' if fmt.signed else 'unsigned'} {fmt.integer}.{fmt.fraction}"


def _bits(flag: Flag) -> str:
    last = flag.mask.bit_length() - 1
    return f"bit {last}" if last == flag.first else f"bits {flag.first} to {last}"


if __name__ == "__main__":
    print(document(), end="")
