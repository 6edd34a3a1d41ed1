import pytest

from specdec.evidence.series import Bound, Row


def test_errors_and_bounds():
    assert Row("a", 2.0, 2.5).error == pytest.approx(0.25)
    assert Row("a", None, 2.5).error is None
    assert Row("a", 2.0, None).log_error is None
    assert Bound("m", 1.0, 1.0).holds
    assert not Bound("m", 1.1, 1.0).holds
    assert Bound("m", 1.1, 1.0, at_least=True).holds
    assert not Bound("m", 0.9, 1.0, at_least=True).holds
