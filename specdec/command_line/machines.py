"""Options that say which model runs on which machines, and how."""

from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import PATH, NameOrFile, OneOf, Whole, together

if TYPE_CHECKING:
    from specdec.cost.deployment import Deployment

MODEL = NameOrFile(".json")
MACHINE = NameOrFile(".toml")

FORMATS = ("bf16", "fp8", "int8", "fp4", "int4")
"""The names in `specdec.cost.formats.BYTES`, which would be slow to import."""

deployment_options = together(
    click.option(
        "--tensor-parallel", type=Whole(1), default=1, show_default=True, help="Machines that share matrices."
    ),
    click.option("--expert-parallel", type=Whole(1), default=1, show_default=True, help="Machines that share experts."),
    click.option("--weights", type=OneOf(*FORMATS), help="Their format.  [default: as published]"),
    click.option("--kv", type=OneOf(*FORMATS), help="Format of keys and values.  [default: as published]"),
    click.option("--kernels", type=PATH, help="A folder of the hardware's measured kernels, as AIConfigurator's."),
    click.option("--activations", type=OneOf(*FORMATS), help="In which products are made.  [default: by the weights]"),
)


def split(options: dict[str, Any]) -> tuple["Deployment", dict[str, Any]]:
    """Return what `deployment_options` gave, and the other options."""
    from specdec.cost.deployment import Deployment

    given = {name: options.pop(name) for name in ("weights", "kv", "activations")}
    return Deployment(options.pop("tensor_parallel"), options.pop("expert_parallel"), **given), options
