"""How far numbers of the commands that decode may go: beyond, a run would not end, or not fit on any machine."""

from rtnerf.base.options import Number, Whole

THREADS = Whole(1, 256)
NODES = Whole(2, 1000)
DEPTH = Whole(1, 256)
TOKENS = Whole(1, 1_000_000)
COUNT = Whole(1, 10_000)
"""Of what is done one after the other: prompts, rollouts, programs."""

STEPS = Whole(2, 20)
"""Operations of a function that is to be written."""

PENALTY = Number(0.01, 100)
"""On logits: beyond, they are infinite."""
