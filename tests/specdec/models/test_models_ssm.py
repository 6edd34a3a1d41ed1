"""The scans of the state-space model against its recurrence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdec.models.packing import Packing
from specdec.models.ssm import recurrent_step, replay, sequence_scan, tree_scan


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scan_inputs(seed, tokens, batch=(), heads=3, features=4, size=5):
    """Random a, u, b, c and a state, in float64."""
    torch.manual_seed(seed)
    shapes = [(tokens, heads), (tokens, heads, features), (tokens, size), (tokens, size), (heads, features, size)]
    a, *others = (torch.randn(*batch, *shape, dtype=torch.float64) for shape in shapes)
    return -a.exp(), *others


def along(path, a, u, b, c, state):
    """The recurrence along a path: the last output and state."""
    for node in path:
        y, state = recurrent_step(a[node], u[node], b[node], c[node], state)
    return y, state


def path_to(parent, node):
    return [] if node < 0 else [*path_to(parent, parent[node]), node]


PARENTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=24).map(
    lambda draws: [-1] + [draw % (index + 1) for index, draw in enumerate(draws[1:])]
)


@settings(max_examples=40, deadline=None)
@given(PARENTS, st.integers(0, 100), st.data())
def test_tree_scan_is_the_recurrence_along_every_path(parent, seed, data):
    a, u, b, c, state = scan_inputs(seed, len(parent))
    new = data.draw(st.integers(1, len(parent)))
    y = tree_scan(a, u, b, c[-new:], state, Packing(parent, new, 0).ancestors)
    expected = [along(path_to(parent, node), a, u, b, c, state)[0] for node in range(len(parent))][-new:]
    torch.testing.assert_close(y, torch.stack(expected), rtol=0, atol=1e-9)


def test_one_token_by_hand():
    numbers = [torch.tensor(row, dtype=torch.float64) for row in ([np.log(0.5)], [[3.0]], [2.0], [1.0], [[[8.0]]])]
    a, u, b, c, state = numbers
    y, after = recurrent_step(a, u, b, c, state)
    assert y.item() == after.item() == 0.5 * 8 + 3 * 2


@pytest.mark.parametrize("chunk", [1, 4, 7, 64])
def test_sequence_scan_is_the_recurrence_whatever_the_chunk(chunk):
    a, u, b, c, state = scan_inputs(1, tokens=13, batch=(2,))
    y = sequence_scan(a, u, b, c, state, chunk)
    for t in range(13):
        expected, state = recurrent_step(a[:, t], u[:, t], b[:, t], c[:, t], state)
        torch.testing.assert_close(y[:, t], expected, rtol=0, atol=1e-9)


def test_replay_is_the_state_of_the_recurrence():
    a, u, b, c, state = scan_inputs(2, tokens=13)
    _, expected = along(range(13), a, u, b, c, state)
    torch.testing.assert_close(replay(a, u, b, state), expected, rtol=0, atol=1e-12)


def test_strong_decay_over_a_long_path_keeps_float32_digits():
    tokens = 200
    a, u, b, c, state = scan_inputs(3, tokens)
    a = 5 * a
    mask = Packing(range(-1, tokens - 1), tokens, 0).ancestors
    exact = tree_scan(a, u, b, c, state, mask)
    rounded = tree_scan(*(x.float() for x in (a, u, b, c, state)), mask)
    torch.testing.assert_close(rounded.double(), exact, rtol=0, atol=1e-5)
