import pytest
import torch

from specdec.models.few_rows import MOST, product


@pytest.mark.parametrize("inputs", [5, 8, 27, 256])
@pytest.mark.parametrize("rows", range(MOST + 2))
def test_the_same_as_of_torch(rows, inputs):
    torch.manual_seed(rows)
    x, weight = torch.randn(rows, inputs), torch.randn(inputs, 33)
    with torch.no_grad():
        torch.testing.assert_close(product(x, weight), x @ weight, atol=1e-4, rtol=1e-5)


def test_a_row_does_not_depend_on_those_beside_it():
    torch.manual_seed(0)
    x, weight = torch.randn(MOST, 256), torch.randn(256, 768)
    with torch.no_grad():
        alone = torch.cat([product(row[None], weight) for row in x])
        for rows in range(1, MOST + 1):
            assert torch.equal(product(x[:rows], weight), alone[:rows])


def test_other_kinds_of_numbers_and_layouts_are_left_to_torch():
    x, weight = torch.randn(3, 16), torch.randn(16, 16)
    with torch.no_grad():
        for one, other in ((x.double(), weight.double()), (x, weight.T), (x[:, ::2], weight[::2]), (x[None], weight)):
            assert torch.equal(product(one, other), one @ other)
    weight.requires_grad_()
    product(x, weight).sum().backward()
    assert weight.grad is not None
    with torch.no_grad():
        assert product(x, weight).shape == (3, 16)
