"""The Python face: quick to import, every example runs, and what it says is what the command says."""

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import specdec
from rtnerf.base.errors import InputError
from specdec import predict
from specdec.cost.predict import Prediction

ROOT = Path(__file__).parents[2]
TREE, ACCEPTANCE, TIMES = [(0,), (1,), (0, 0)], [[0.6, 0.2], [0.5]], {1: 10.0, 4: 10.5, 64: 30.0}


@pytest.mark.parametrize("name", ["specdec", "specdec.api", "specdec.decoding.measure", "specdec.decoding.pair"])
def test_examples_of_the_docstrings(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0


def test_examples_of_the_document():
    found = doctest.testfile(str(ROOT / "docs" / "specdec.md"), module_relative=False)
    assert found.attempted >= 7
    assert found.failed == 0


def test_importing_loads_nothing_heavy():
    code = "import sys, specdec; print([name for name in ('torch', 'numba', 'numpy', 'scipy') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "[]\n"


def test_names():
    assert dir(specdec) == specdec.__all__
    for name in specdec.__all__:
        assert getattr(specdec, name).__doc__
    with pytest.raises(AttributeError, match="module 'specdec' has no attribute 'guess'"):
        specdec.guess  # noqa: B018


def test_values_and_files_predict_the_same(tmp_path):
    file = tmp_path / "times.csv"
    file.write_text("tokens,ms\n" + "".join(f"{tokens},{ms}\n" for tokens, ms in TIMES.items()))
    by_value, by_file = (predict(TREE, ACCEPTANCE, [1, 8], step_times=times, draft_ms=1) for times in (TIMES, file))
    assert by_value.record() == by_file.record()
    assert by_value.tau == pytest.approx(1 + 0.6 + 0.2 + 0.6 * 0.5)


def test_a_prediction_shows_itself():
    found = predict(TREE, ACCEPTANCE, [1, 64], step_times=TIMES)
    html = found._repr_html_()
    assert html.count("<tr>") == 3
    assert "<td>64</td>" in html
    assert found.verdict in html
    assert isinstance(found, Prediction)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "target must be given by step times or by name, not both or neither"),
        ({"step_times": {}}, "step times must be at least two points, or there is nothing to go by, not 0"),
        ({"step_times": {1: 1.0, 2: -1.0}}, "ms of the step times must be above 0"),
        ({"target": "llama-2-7b", "hardware": "abacus"}, "hardware must be one of"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        predict(TREE, ACCEPTANCE, **options)
