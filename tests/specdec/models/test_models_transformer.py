"""Attention against its formula written out, and the bookkeeping of the packed pass."""

import pytest
import torch

from rtnerf.base.errors import InputError
from specdec.models.packing import Packing
from specdec.models.transformer import Attention, KeyValueCache, rotate

TREE = [-1, 0, 0, 1, 2, 1]


@pytest.fixture(autouse=True)
def deterministic():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def test_packing_of_a_small_tree():
    packing = Packing(TREE, new=3, committed=2)
    assert packing.positions.tolist() == [4, 4, 4]
    assert packing.visible.int().tolist() == [
        [1, 1, 1, 1, 0, 1, 0, 0],
        [1, 1, 1, 0, 1, 0, 1, 0],
        [1, 1, 1, 1, 0, 0, 0, 1],
    ]
    # Rows 0, 1, 2 are the prefix's last inputs, row 3 + i is node i.
    assert packing.windows(4).tolist() == [[2, 3, 4, 6], [2, 3, 5, 7], [2, 3, 4, 8]]
    assert Packing(TREE, new=6, committed=2).windows(4)[0].tolist() == [0, 1, 2, 3]


def test_rotation_is_a_complex_phase():
    x, positions = torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 7, 100])
    speed = 10000.0 ** (-torch.arange(3, dtype=torch.float64) / 3)
    phase = torch.exp(1j * positions[:, None] * speed)
    expected = torch.complex(x[:, :3], x[:, 3:]) * phase
    torch.testing.assert_close(rotate(x, positions, 101), torch.cat([expected.real, expected.imag], -1))


def test_rotated_products_depend_on_the_distance_only():
    query, key = torch.randn(2, 1, 8, dtype=torch.float64)
    near, far = (
        (rotate(query, torch.tensor([t + 3]), 2000) * rotate(key, torch.tensor([t]), 2000)).sum() for t in (0, 1000)
    )
    torch.testing.assert_close(near, far)


def test_attention_is_its_formula():
    layer = Attention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    query, key, value = layer.into(x).reshape(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)
    query, key = rotate(query, torch.arange(5), 5), rotate(key, torch.arange(5), 5)
    weight = (query @ key.mT / 2).masked_fill(~torch.ones(5, 5).tril().bool(), -torch.inf).softmax(-1)
    expected = layer.out((weight @ value).permute(0, 2, 1, 3).reshape(2, 5, 12))
    torch.testing.assert_close(layer(x, None, None), expected)


def test_heads_must_divide_the_width():
    with pytest.raises(InputError, match="width must be a multiple of twice the 3 heads, not 9"):
        Attention(9, 3)


def test_cache_moves_kept_rows_and_overwrites_the_rest():
    def rows(*labels):
        return torch.tensor(labels, dtype=torch.float64).expand(2, 1, 1, -1).mT

    cache = KeyValueCache(rows())
    assert cache.append(*rows(10, 11, 12, 13)).flatten().tolist() == [10, 11, 12, 13] * 2
    cache.keep([0, 2], [3])
    assert cache.prefix.flatten().tolist() == [10, 12] * 2
    assert cache.append(*rows(14)).flatten().tolist() == [10, 12, 13, 14] * 2
    cache.keep([], [])
    assert cache.append(*rows(15)).flatten().tolist() == [10, 12, 15] * 2
