"""Adam in one pass, against PyTorch's."""

import pytest
import torch

from nerf.train.adam import Adam, _update_anywhere


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("anywhere", [False, True])
def test_steps_are_those_of_pytorch(monkeypatch, workers, anywhere):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(3, 4, 5, generator=generator).movedim(-1, 0), torch.randn(700, 500, generator=generator)]
    ours = [one.clone(memory_format=torch.preserve_format) for one in start]
    theirs = [one.clone().requires_grad_() for one in start]
    adam, reference = Adam(ours), torch.optim.Adam(theirs, lr=0.02, betas=(0.9, 0.99))
    penalties = [0.3, 0.0]
    for _ in range(4):
        given = [[torch.randn(one.shape, generator=generator) for one in start] for _ in range(workers)]
        for one, mine, gradients, penalty in zip(theirs, ours, zip(*given, strict=True), penalties, strict=True):
            one.grad = sum(gradients) + penalty * mine.sign()
        if anywhere:  # What a GPU does.
            adam.step += 1
            first, second = 1 - 0.9**adam.step, 1 - 0.99**adam.step
            for mine, gradients, moments, penalty in zip(
                ours, zip(*given, strict=True), adam.moments, penalties, strict=True
            ):
                _update_anywhere(mine, sum(gradients), *moments, 0.02 / first, second**0.5, penalty)
        else:
            adam.update(given, [0.02, 0.02], penalties)
        reference.step()
        for mine, one in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, one.detach(), atol=1e-5, rtol=0)
