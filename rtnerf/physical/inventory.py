"""The memories of a configuration, counted in its elaborated design: in seconds, where Verilog takes a minute."""

from __future__ import annotations

import gc
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
def placed(config: AcceleratorConfig) -> tuple[tuple[str, Memory], ...]:
    """Return the memories of a configuration, each with its place in the design: ``mlp_engine.sample_0.features``."""
    # Nothing of a design can be freed before it is whole, and looking for it takes a third of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        return tuple(_placed(config))
    finally:
        if collects:
            gc.enable()


def _placed(config: AcceleratorConfig) -> Iterator[tuple[str, Memory]]:
    platform = Platform()
    top = Fragment.get(Accelerator(config), platform)
    # A component that is built in many times is elaborated once, and may have others in it.
    kinds: dict[str, Fragment] = {}
    while missing := platform.components.keys() - kinds.keys():
        kinds |= {kind: Fragment.get(platform.components[kind], platform) for kind in missing}
    pending = [("", top)]
    for path, fragment in pending:
        for place, part in _parts(path, fragment):
            if isinstance(part, MemoryInstance):
                yield place, _memory(part)
            elif isinstance(part, Instance) and part.type in kinds:
                pending.append((place, kinds[part.type]))


def inventory(config: AcceleratorConfig) -> tuple[tuple[Memory, int], ...]:
    """Return the memories of a configuration, each with how often it stands in the design."""
    return tuple(Counter(memory for _, memory in placed(config)).items())


def on_chip_bytes(config: AcceleratorConfig) -> int:
    """Return the bytes of all memories: what ``rtnerf generate`` counts in the Verilog, but not rounded by block."""
    return sum(number * memory.size for memory, number in inventory(config)) // 8


def macros_mm2(config: AcceleratorConfig) -> float:
    """Return the area of the memories that are macros in ASAP7: assumed, see `rtnerf.physical.memories`."""
    macros = [row for row in inventory(config) if row[0].size > MACRO_BITS and row[0].synchronous]
    return sum(number * ASAP7.price(memory)["area_um2"] for memory, number in macros) / 1e6


def _parts(path: str, fragment: Fragment) -> Iterator[tuple[str, Fragment]]:
    """Yield a fragment and all below it, each with its place."""
    yield path, fragment
    for part, name, *_ in fragment.subfragments:
        yield from _parts(f"{path}.{name}" if path else str(name), part)


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
