import errno
import json
import os
import stat
import threading
from pathlib import Path

import click
import numpy as np
import pytest

from rtnerf.base import files
from rtnerf.base.errors import InputError
from rtnerf.base.options import PATH, check_targets, json_option


def test_json_is_standard_and_plain(tmp_path):
    value = {"psnr_db": float("inf"), "count": np.int64(3), "shape": (1, np.float32(0.5)), "path": Path("a")}
    files.write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "psnr_db": None, "count": 3, "shape": [1, 0.5], "path": "a",
    }  # fmt: skip


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    files.write_bytes(tmp_path / "x", b"old")

    def refuse(*arguments):
        raise PermissionError(13, "no")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(InputError, match=r"output must be a file that can be written, not .*x \(no\)"):
        files.write_bytes(tmp_path / "x", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_device_is_written_to_and_stays(tmp_path):
    files.write_bytes("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(InputError, match=r"^output must be a file that can be written, not /dev/full \(No space left"):
        files.write_bytes("/dev/full", b"x")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.check_target("out", pipe)
    files.write_bytes(pipe, b"through")
    reader.join(10)
    assert read == [b"through"]
    assert pipe.is_fifo()


def test_own_standard_output_is_appended_to(tmp_path):
    path = tmp_path / "log"
    with open(path, "wb") as log:
        log.write(b"before ")
        log.flush()
        files.write_bytes(f"/dev/fd/{log.fileno()}", b"through")
    assert path.read_bytes() == b"before through"


@pytest.mark.parametrize("there", [True, False])
def test_the_target_of_a_link_is_replaced(tmp_path, there):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "file"
    if there:
        target.write_bytes(b"old")
        target.chmod(0o640)
    (tmp_path / "second").symlink_to(target)
    link = tmp_path / "link"
    link.symlink_to("second")
    files.check_target("out", link)
    files.write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert not there or stat.S_IMODE(target.stat().st_mode) == 0o640
    assert (names(tmp_path), names(tmp_path / "real")) == (["link", "real", "second"], ["file"])


def test_what_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path, "a folder"),
        (tmp_path / "loop", os.strerror(errno.ELOOP)),
        (tmp_path / "file" / "x", os.strerror(errno.ENOTDIR)),
        (tmp_path / ("n" * 300), os.strerror(errno.ENAMETOOLONG)),
        (tmp_path / "new" / ("n" * 300), os.strerror(errno.ENAMETOOLONG)),
    ):
        with pytest.raises(
            InputError, match=rf"^out must be a file that can be written, not .*\({reason}\)$"
        ) as caught:
            files.check_target("out", path)
        assert len(str(caught.value)) < 300
    longest = tmp_path / ("n" * 255)
    files.write_bytes(files.check_target("out", longest), b"x")
    assert longest.read_bytes() == b"x"


def test_a_stopped_write_leaves_nothing(tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "x", b"new")
    assert names(tmp_path) == []


def test_no_file_is_written_that_is_read_and_none_twice(tmp_path):
    model = tmp_path / "model"
    model.touch()
    (tmp_path / "link").symlink_to(model)
    os.link(model, tmp_path / "hard")
    (tmp_path / "folder").symlink_to(tmp_path)

    @click.command()
    @click.option("--model", type=PATH)
    @click.option("--config", default="tiny")
    @click.option("--out", type=PATH)
    @json_option
    def command(model, config, out, json_file):
        check_targets(out=out, json=json_file)

    def call(*arguments):
        command.main([str(argument) for argument in arguments], standalone_mode=False)

    for same in (model, tmp_path / "link", tmp_path / "hard", tmp_path / "folder" / "model"):
        for option in ("--out", "--json"):
            with pytest.raises(InputError, match=f"^{option[2:]} must be another file than model, not {same}$"):
                call("--model", model, option, same)
    settings = tmp_path / "own.toml"
    settings.touch()
    with pytest.raises(InputError, match="out must be another file than config"):
        call("--config", settings, "--out", settings)
    with pytest.raises(InputError, match="json must be another file than out"):
        call("--out", tmp_path / "new", "--json", tmp_path / "folder" / "new")
    call("--out", os.devnull, "--json", os.devnull)
    call("--model", model, "--out", tmp_path / "one", "--json", tmp_path / "two")


def test_what_a_command_says_does_not_stand_in_the_file_that_it_writes(tmp_path, capfd):
    @click.group()
    def group():
        pass

    @group.command()
    @click.option("--out", type=PATH)
    @json_option
    def command(out, json_file):
        check_targets(out=out, json=json_file)
        for path in filter(None, (out, json_file)):
            files.write_bytes(path, b"content")
        click.echo("said")

    def call(*arguments):
        group.main(["command", *map(str, arguments)], standalone_mode=False)
        return capfd.readouterr()

    (tmp_path / "link").symlink_to("/dev/stdout")
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", tmp_path / "link"):
        for option in ("--out", "--json"):
            assert call(option, name) == ("content", "said\n")
    # Later commands of the process are not touched, nor are other files.
    assert call("--out", tmp_path / "x") == ("said\n", "")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_with_and_without_byte_order_mark(tmp_path, encoding):
    (tmp_path / "x").write_bytes(json.dumps({"name": "ä"}, ensure_ascii=False).encode(encoding))
    assert files.read_json("settings", tmp_path / "x") == {"name": "ä"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "a Git LFS pointer: git lfs pull fetches"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"[" * 1_000_000, "nested too deep"),
        (b"9" * 5000, "Exceeds the limit"),
        (b"{", "Expecting property name"),
        (b"\xff\xff", "'utf-8' codec can't decode"),
    ],
)
def test_what_is_no_json_is_named(tmp_path, content, reason):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InputError, match=rf"^settings must be a JSON file, not .*x \({reason}") as caught:
        files.read_json("settings", tmp_path / "x")
    assert "\n" not in str(caught.value)
