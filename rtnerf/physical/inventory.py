"""The memories of a configuration, counted in its elaborated design: in seconds, where Verilog takes a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from amaranth.hdl import Fragment, Instance, MemoryInstance, Shape

from nerf.contract.config import AcceleratorConfig
from rtl.accelerator import Accelerator
from rtl.parts.shared_module import Platform
from rtnerf.physical.memories import ASAP7, MACRO_BITS
from rtnerf.physical.netlist import Memory


@lru_cache(64)
def inventory(config: AcceleratorConfig) -> tuple[tuple[Memory, int], ...]:
    """Return the memories of a configuration, each with how often it stands in the design."""
    platform = Platform()
    top = Fragment.get(Accelerator(config), platform)
    # A component that is built in many times is elaborated once, and may have others in it.
    kinds: dict[str, Fragment] = {}
    while missing := platform.components.keys() - kinds.keys():
        kinds |= {kind: Fragment.get(platform.components[kind], platform) for kind in missing}
    counts: Counter[Memory] = Counter()
    pending = [top]
    for fragment in pending:
        for part in _parts(fragment):
            if isinstance(part, MemoryInstance):
                counts[_memory(part)] += 1
            elif isinstance(part, Instance) and part.type in kinds:
                pending.append(kinds[part.type])
    return tuple(counts.items())


def on_chip_bytes(config: AcceleratorConfig) -> int:
    """Return the bytes of all memories: what ``rtnerf generate`` counts in the Verilog, but not rounded by block."""
    return sum(number * memory.size for memory, number in inventory(config)) // 8


def macros_mm2(config: AcceleratorConfig) -> float:
    """Return the area of the memories that are macros in ASAP7: assumed, see `rtnerf.physical.memories`."""
    macros = [row for row in inventory(config) if row[0].size > MACRO_BITS and row[0].synchronous]
    return sum(number * ASAP7.price(memory)["area_um2"] for memory, number in macros) / 1e6


def _parts(fragment: Fragment) -> Iterator[Fragment]:
    """Yield a fragment and all below it."""
    yield fragment
    for part, *_ in fragment.subfragments:
        yield from _parts(part)


def _memory(part: MemoryInstance) -> Memory:
    reads, writes = part._read_ports, part._write_ports
    return Memory(
        name="",
        words=part._data.depth,
        bits=Shape.cast(part._data.shape).width,
        reads=len(reads),
        writes=len(writes),
        synchronous=all(port._domain != "comb" for port in reads),
        forwards=any(port._transparent_for for port in reads),
        initialised=False,
    )
