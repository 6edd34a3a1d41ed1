import json
from pathlib import Path

from specdec.text import corpus


def test_files_are_sources_of_the_standard_library_in_one_order():
    files = corpus.files()
    assert list(files.items()) == list(corpus.files().items()) == sorted(files.items())
    assert files["json/__init__.py"] == Path(json.__file__)
    assert not any({"test", "tests", "site-packages", "encodings"} & set(Path(name).parts) for name in files)
    assert len(files) > 300


def test_held_out_texts_are_not_trained_on():
    training, held_out = corpus.training(), corpus.held_out()
    assert not set(training) & set(held_out)
    assert len(training) + len(held_out) == len(corpus.files())
    assert 0.02 < sum(map(len, held_out)) / sum(map(len, training)) < 0.1
    # Of megabytes, so that a model has something to learn.
    assert sum(map(len, training)) > 5_000_000


def test_the_split_is_by_name_whatever_else_a_version_of_python_has(monkeypatch, tmp_path):
    """By place in the list, another Python measured on what the models have seen."""
    for name in ("another.py", "cmd.py", "json/scanner.py", "json/decoder.py", "zipapp.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n" * 200)
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    assert [text.split()[1] for text in corpus.held_out()] == ["cmd.py", "json/scanner.py"]
    assert [text.split()[1] for text in corpus.training()] == ["another.py", "json/decoder.py", "zipapp.py"]
