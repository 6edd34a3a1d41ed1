import json
from pathlib import Path

from specdec.text import corpus


def test_files_are_sources_of_the_standard_library_in_one_order():
    files = corpus.files()
    assert files == corpus.files()
    assert Path(json.__file__) in files
    assert not any({"test", "tests", "site-packages", "encodings"} & set(path.parts[-4:]) for path in files)
    assert len(files) > 300


def test_held_out_texts_are_not_trained_on():
    training, held_out = corpus.training(), corpus.held_out()
    assert not set(training) & set(held_out)
    assert len(training) + len(held_out) == len(corpus.files())
    assert 0.02 < sum(map(len, held_out)) / sum(map(len, training)) < 0.1
    # Of megabytes, so that a model has something to learn.
    assert sum(map(len, training)) > 5_000_000
