"""How much memory a design holds, counted in its Verilog."""

import re
from functools import cache

_MODULE = re.compile(r"^module (\\\S+ |\w+)\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(r"^  reg (?:\[(\d+):0\] )?\S+ \[(\d+):0\];", re.MULTILINE)
_INSTANCE = re.compile(r"^  (\\\S+ |\w+) +(\\\S+ |\w+) ?\($", re.MULTILINE)


def memory_bytes(verilog: str, top: str) -> dict[str, int]:
    """Return the bytes of memory arrays in each block of a design's top module; blocks without memory are left out."""
    modules = {match[1].strip(): match[0] for match in _MODULE.finditer(verilog)}

    def instances(module: str) -> list[tuple[str, str]]:
        found = ((kind.strip(), name.strip()) for kind, name in _INSTANCE.findall(modules[module]))
        return [(kind, name) for kind, name in found if kind in modules]

    @cache
    def bits(module: str) -> int:
        own = sum((int(high or 0) + 1) * (int(last) + 1) for high, last in _MEMORY.findall(modules[module]))
        return own + sum(bits(kind) for kind, _ in instances(module))

    held = {name: -(-bits(kind) // 8) for kind, name in instances(top)}
    return {name: count for name, count in sorted(held.items()) if count}
