"""What shared hardware saves: area, clock and energy of it, and of what would stand in its place.

One tree that sums, counts and searches beside a tree for each; one decoder of all forms beside a decoder for each. The
single ones are the same RTL with the rest left out. Energy: of a cycle at work, and of the clock in a cycle without, at
the prices of `rtnerf.physical.energy`. The result is `reports/results/variants.json`.
"""

import argparse
import json
import sys
from collections.abc import Iterator

from amaranth.hdl import Module
from amaranth.lib import wiring

from nerf.contract.blocks import Form
from nerf.contract.config import load_config
from rtl.factors.hybrid_decoder import HybridDecoder
from rtl.factors.search_tree import BidirectionalTree
from rtl.parts.shared_module import text_of
from rtl.payloads import Mode
from rtl.verilog.export import TOP
from rtnerf.base.folders import kept_folder
from rtnerf.physical.energy import cycle_pj
from rtnerf.physical.libraries import load_technology
from rtnerf.physical.synthesis import measure
from rtnerf.physical.units import Design

KEYS = ("cells", "area_um2", "flip_flops", "delay_ps")


class Around(wiring.Component):
    """A top round a component, which is then a unit with all that is in it."""

    def __init__(self, component: wiring.Component) -> None:
        self._component = component
        super().__init__(component.signature)

    def elaborate(self, platform) -> Module:
        """Return the component, connected."""
        m = Module()
        m.submodules.component = self._component
        wiring.connect(m, wiring.flipped(self), self._component)
        return m


def variants() -> Iterator[tuple[str, str, wiring.Component]]:
    """Yield idea, name and component of each."""
    config = load_config("tiny")
    yield "tree", "shared", BidirectionalTree()
    for mode in Mode:
        yield "tree", mode.name.lower(), BidirectionalTree([mode])
    yield "decoder", "shared", HybridDecoder(config)
    for form in Form:
        yield "decoder", form.name.lower(), HybridDecoder(config, [form])


def main() -> None:
    """Read the options, synthesise, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.variants", description=__doc__)
    parser.add_argument("--library", default="asap7", help="library by name")
    parser.add_argument("--idea", nargs="+", default=["tree", "decoder"], help="only these")
    options = parser.parse_args()
    cache = kept_folder("synthesis")
    technology = load_technology([options.library], cache)
    ideas: dict[str, dict[str, dict]] = {}
    for idea, name, component in variants():
        if idea not in options.idea:
            continue
        (unit,) = (unit for unit in Design(text_of(Around(component), TOP)).units if unit.name != "top")
        found = measure(unit, technology, cache)
        row = {key: found[key] for key in KEYS}
        gates = found["area_um2"] - found["area_by_kind_um2"]["registers"]
        row["busy_pj"], row["idle_pj"] = cycle_pj(gates, found["flip_flops"])
        ideas.setdefault(idea, {})[name] = row
        print(f"{idea} {name}: {row}", file=sys.stderr)
    command = " ".join(["python -m benchmarks.variants", *sys.argv[1:]])
    json.dump({"command": command, "library": technology.name, "ideas": ideas}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
