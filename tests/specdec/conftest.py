"""What tests of `specdec` share."""

import pytest
import torch


@pytest.fixture(scope="module")
def one_thread():
    """PyTorch on one thread, for a module."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
