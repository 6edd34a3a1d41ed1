"""Equal components that are written once.

Amaranth writes a module for every component that is built in. In the text of `text_of`, the components that were built
in by `build_in` are instances of one module.
"""

import re
from collections.abc import Callable, Iterable
from types import ModuleType

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

_TOP = re.compile(r"^(\(\* top =  1  \*\)|attribute \\top 1)\n", re.MULTILINE)


class _Platform:
    """What `text_of` hands down: one component of each kind, by the name of its module."""

    def __init__(self) -> None:
        self.components: dict[str, wiring.Component] = {}


def build_in(m: Module, platform, kind: str, names: Iterable[str], make: Callable[[], wiring.Component]) -> list:
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
    """
    built = []
    for name in names:
        if not isinstance(platform, _Platform):
            m.submodules[name] = component = make()
            built.append(component)
            continue
        if kind not in platform.components:
            platform.components[kind] = make()
        signature = platform.components[kind].signature
        ports = signature.create(path=(name,))
        m.submodules[name] = Instance(kind, i_clk=ClockSignal(), i_rst=ResetSignal(), **{
            f"{'o' if member.flow == Out else 'i'}_{'__'.join(map(str, path))}": Value.cast(value)
            for path, member, value in signature.flatten(ports)
        })  # fmt: skip
        built.append(ports)
    return built


def text_of(component: wiring.Component, name: str, back_end: ModuleType, *, sources: bool = False) -> str:
    """Return the text of a component.

    Parameters
    ----------
    component : wiring.Component
    name : str
    back_end : `amaranth.back.verilog` or `amaranth.back.rtlil`
    sources : bool
        With the file and line of everything.
    """
    platform = _Platform()
    texts = [back_end.convert(component, name, platform, emit_src=sources)]
    texts += [_TOP.sub("", back_end.convert(one, kind, emit_src=sources)) for kind, one in platform.components.items()]
    return "\n".join(texts)
