"""How much memory a design holds, and how many instances of each module, counted in its Verilog."""

import re
from collections import Counter
from functools import cache

_MODULE = re.compile(r"^module (\\\S+ |\w+)\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(r"^  reg (?:\[(\d+):0\] )?\S+ \[(\d+):0\];", re.MULTILINE)
_INSTANCE = re.compile(r"^  (\\\S+ |\w+) +(\\\S+ |\w+) ?\($", re.MULTILINE)


class _Hierarchy:
    """Modules of a Verilog text by name, and what they are made of."""

    def __init__(self, verilog: str) -> None:
        self.modules = {match[1].strip(): match[0] for match in _MODULE.finditer(verilog)}

    def instances(self, module: str) -> list[tuple[str, str]]:
        """Return (module, name) of each instance in a module."""
        found = ((kind.strip(), name.strip()) for kind, name in _INSTANCE.findall(self.modules[module]))
        return [(kind, name) for kind, name in found if kind in self.modules]


def memory_bytes(verilog: str, top: str) -> dict[str, int]:
    """Return the bytes of memory arrays in each block of a design's top module; blocks without memory are left out."""
    hierarchy = _Hierarchy(verilog)

    @cache
    def bits(module: str) -> int:
        text = hierarchy.modules[module]
        own = sum((int(high or 0) + 1) * (int(last) + 1) for high, last in _MEMORY.findall(text))
        return own + sum(bits(kind) for kind, _ in hierarchy.instances(module))

    held = {name: -(-bits(kind) // 8) for kind, name in hierarchy.instances(top)}
    return {name: count for name, count in sorted(held.items()) if count}


def instances_of(verilog: str, top: str) -> Counter[str]:
    """Return how often each module stands in a design."""
    hierarchy = _Hierarchy(verilog)

    @cache
    def below(module: str) -> Counter[str]:
        found: Counter[str] = Counter()
        for kind, _ in hierarchy.instances(module):
            found[kind] += 1
            found.update(below(kind))
        return found

    return below(top)
