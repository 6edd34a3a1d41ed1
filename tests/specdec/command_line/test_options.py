from pathlib import Path

import pytest

from rtnerf.base.errors import InputError
from specdec.command_line.options import Wholes, check_outputs


def test_whole_numbers_rise_and_come_once():
    assert Wholes().convert("8, 1,64,8", None, None) == (1, 8, 64)


@pytest.mark.parametrize("text", ["", "1,", "0,1", "-1", "1.5", "x", "9" * 5000])
def test_other_numbers_are_refused(text):
    with pytest.raises(InputError, match="value must be whole numbers from 1 to 100, separated by commas, not"):
        Wholes(100).convert(text, None, None)


def test_outputs_are_checked_before_the_work(tmp_path):
    check_outputs(json=tmp_path / "a.json", plot=tmp_path / "a.svg")
    check_outputs(json=None, plot=None)
    with pytest.raises(InputError, match=r"plot must be a file name that ends with \.png, \.svg, \.pdf, not a\.txt"):
        check_outputs(plot=Path("a.txt"))
    with pytest.raises(InputError, match=r"json must be a file that can be written, not .* \(a folder\)"):
        check_outputs(json=tmp_path)
