"""Equal components that are written once.

Amaranth writes a module for every component that is built in. In the text of `text_of`, the components that were built
in by `build_in` are instances of one module.
"""

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from operator import attrgetter, itemgetter
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

SOURCE = re.compile(r'^ *attribute \\src "[^\n]*\n', re.MULTILINE)
"""A line of RTLIL that says where something stands."""
PART = "part_"
"""How the names of modules begin that are parts of what they are built into."""
_TOP = re.compile(r"^attribute \\top 1\n", re.MULTILINE)


class Platform:
    """What `text_of` hands down: one component of each kind, by the name of its module.

    Parameters
    ----------
    has_multipliers : bool
        Products are left whole, as an FPGA takes them.
    """

    def __init__(self, has_multipliers: bool = False) -> None:
        self.has_multipliers = has_multipliers
        self.components: dict[str, wiring.Component] = {}


def build_in(
    m: Module,
    platform,
    kind: str,
    names: Iterable[str],
    make: Callable[[], wiring.Component],
    common: Mapping[str, Any],
    *,
    clocked: bool = True,
) -> list:
    """Build equal components into a module; return what has their ports.

    Their registers must be without reset: a `ResetInserter` is not heard inside an instance.

    Parameters
    ----------
    m : Module
    platform
        The one of ``elaborate``.
    kind : str
        Name of the module that is written for them.
    names : of str
        Their names as submodules.
    make : function
        Returns one of them.
    common : dict
        What all of them get at an input, by its name: a value, or an interface; not to be driven again.
    clocked : bool
        Whether they have registers.
    """
    built = []
    for name in names:
        if not isinstance(platform, Platform):
            m.submodules[name] = component = make()
            built.append(component)
            for *_, port, source in _ports(component.signature, component, common):
                if source is not port:
                    m.d.comb += port.eq(source)
            continue
        if kind not in platform.components:
            platform.components[kind] = make()
        signature = platform.components[kind].signature
        ports = signature.create(path=(name,))
        clock = {"i_clk": ClockSignal(), "i_rst": ResetSignal()} if clocked else {}
        m.submodules[name] = Instance(kind, **clock, **{
            f"{'o' if member.flow == Out else 'i'}_{'__'.join(map(str, path))}": source
            for path, member, _, source in _ports(signature, ports, common)
        })  # fmt: skip
        built.append(ports)
    return built


def _ports(signature: wiring.Signature, ports, common: Mapping[str, Any]) -> Iterator[tuple]:
    """Yield path, member and value of each port, and what it is to be connected to: the value itself, if not common."""
    for path, member, value in signature.flatten(ports):
        port = source = Value.cast(value)
        if path[0] in common:
            steps = (itemgetter(step) if isinstance(step, int) else attrgetter(step) for step in path[1:])
            source = Value.cast(reduce(lambda inner, step: step(inner), steps, common[path[0]]))
            if len(source) != len(port):
                raise TypeError(f"{path[0]} must have {len(port)} bits, not {len(source)}")
        yield path, member, port, source


def text_of(
    component: wiring.Component,
    name: str,
    platform: Platform | None = None,
    *,
    tell: Callable[[str], None] = lambda kind: None,
    sources: bool = False,
) -> str:
    """Return the RTLIL of a component, then of each kind that was built in.

    Parameters
    ----------
    component : wiring.Component
    name : str
    platform : Platform
    tell : function
        Called with the name of a module before it is converted.
    sources : bool
        With the file and line of everything.
    """
    platform = platform or Platform()
    texts = []
    # A netlist is a million objects and no garbage: to look for some takes as long as to make them.
    with _no_collection():
        tell(name)
        texts.append(rtlil.convert(component, name, platform, emit_src=sources))
        written: list[str] = []
        # A kind may have others built in.
        while len(written) < len(platform.components):
            kind = next(kind for kind in platform.components if kind not in written)
            tell(kind)
            texts.append(_TOP.sub("", rtlil.convert(platform.components[kind], kind, platform, emit_src=sources)))
            written.append(kind)
    return "\n".join(texts)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Leave the garbage collector off, and what was made to the next call: a process with one design has none."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
