"""The commands of ``rtnerf specdec``. Each imports what it needs when it runs, so that ``--help`` is quick."""

import click

from rtnerf.base.options import example
from specdec.command_line.acceptance import acceptance
from specdec.command_line.advise import advise
from specdec.command_line.cost import predict, serve
from specdec.command_line.decoding import calibrate, measure, train
from specdec.command_line.evidence import validate
from specdec.command_line.rollout import rollout


@click.group(**example("rtnerf specdec train --out build/specdec", cls=click.Group))
def specdec() -> None:
    """Speculative decoding with token trees: train, measure, predict, acceptance, advise, serve."""


for command in (train, measure, calibrate, acceptance, predict, advise, validate, serve, rollout):
    specdec.add_command(command)
