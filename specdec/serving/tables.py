"""What the compiled loop needs of a server and a controller, as numbers."""

from typing import NamedTuple

import numpy as np

from specdec.serving.controllers import Controller
from specdec.serving.ladder import CLASSES
from specdec.serving.server import Server
from specdec.serving.workload import MICROSECOND, MILLISECOND


class Tables(NamedTuple):
    """What the loop needs of the server and the controller, times in nanoseconds."""

    nodes: np.ndarray
    survival: np.ndarray
    expected: np.ndarray
    decoding: np.ndarray
    predicted: np.ndarray
    prefill: np.ndarray
    max_batch: int
    max_length: int
    blocks: int
    block: int
    prefill_tokens: int
    interval: int
    preference: float
    exhaustive: bool
    prior: int
    window: int
    chunked: bool
    prefix: int
    readers: int
    transfer: float


def tables(server: Server, controller: Controller) -> Tables:
    """Work out the tables of a server with a controller."""
    ladder = controller.ladder
    return Tables(
        ladder.nodes,
        ladder.survival,
        ladder.expected,
        server.decoding_ms(ladder) * MILLISECOND,
        controller.predicted_ms(server) * MILLISECOND,
        np.rint(server.prefill_ms(ladder) * MILLISECOND).astype(np.int64),
        server.max_batch,
        server.max_length,
        server.blocks - server.shared,
        server.block,
        server.prefill_tokens,
        controller.interval,
        controller.preference,
        controller.exhaustive,
        round(controller.prior * (CLASSES - 1)),
        controller.window,
        server.chunked,
        server.prefix,
        server.readers,
        server.transfer_us * MICROSECOND,
    )
