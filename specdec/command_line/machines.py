"""Options that say which model runs on which machines, and how."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rtnerf.base.options import FC, PATH, NameOrFile, Number, OneOf, Whole, together

if TYPE_CHECKING:
    from specdec.cost.deployment import Deployment

MODEL = NameOrFile(".json")
MACHINE = NameOrFile(".toml")

MOST_CONTEXT = 10_000_000

TIME = Number(0, 1e6)
"""Of a pass, of the host or of a link, in ms or us."""

DRAFT_PASSES = Whole(0, 10_000)
"""Of a step."""

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


def model_options() -> Callable[[FC], FC]:
    """Return the options of a target, its machines and its draft."""
    return together(
        click.option("--target", type=MODEL, help="A named model, a config.json or its folder."),
        click.option("--hardware", type=MACHINE, help="A named machine, or a TOML file."),
        deployment_options,
        click.option("--draft", type=MODEL, help="The model that drafts, likewise."),
        click.option("--draft-vocabulary", type=Whole(1), help="Rows that the draft's output layer keeps (VocabTrim)."),
    )


def split(options: dict[str, Any]) -> tuple["Deployment", dict[str, Any]]:
    """Return what `deployment_options` gave, and the other options."""
    from specdec.cost.deployment import Deployment

    given = {name: options.pop(name) for name in ("weights", "kv", "activations")}
    return Deployment(options.pop("tensor_parallel"), options.pop("expert_parallel"), **given), options
