"""The full recipe: its schedule, evaluation on the way, the best model kept, and going on after a stop."""

import json
from dataclasses import replace

import pytest
import torch

import rtnerf
from nerf.checkpoint import load_model
from nerf.scenes.builtin import get_scene, write_scene
from nerf.train.grids import initial_model, resolution
from nerf.train.judge import Judge
from nerf.train.run import Run
from nerf.train.settings import FULL, RECIPES
from rtnerf.train import TimeLeft

TINY = replace(FULL, steps=40, batch_rays=128, first_edge=8, last_edge=14, hidden=8, app_components=4, features=5)


def test_the_grid_grows_as_the_original_programs_does():
    assert list(FULL.upsamplings) == [2000, 3000, 4000, 5500, 7000]
    voxels = [edge**3 / 1e6 for edge in FULL.upsamplings.values()]
    assert voxels == pytest.approx([3.50, 5.83, 9.72, 16.2, 27.0], rel=0.01)
    assert (FULL.steps, FULL.batch_rays, FULL.first_edge, FULL.sparsity) == (30000, 4096, 128, (8e-5, 4e-5))


def test_a_long_box_has_no_finer_grid_than_the_accelerator_takes():
    assert resolution(torch.tensor([4.0, 1.0, 1.0]), 300) == (384, 96, 96)
    assert resolution(torch.tensor([1.0, 1.5, 1.0]), 300) == (262, 393, 262)


def test_rates_begin_again_at_each_upsampling(monkeypatch):
    settings = replace(TINY, steps=10, upsample_at=(0.4,))
    seen = []
    monkeypatch.setattr("nerf.train.run.Adam.update", lambda self, given, rates, *others: seen.append(rates[0]))
    monkeypatch.setattr("nerf.train.run.colours", lambda model, rays, *others: model.basis.sum() + rays[:, :3] * 0)
    monkeypatch.setattr(torch.autograd, "grad", lambda error, tensors: tensors)
    run, rays = Run(initial_model(settings, torch.Generator()), settings), torch.zeros(4, 6)
    data = type("Data", (), {"rays": rays, "rgb": rays[:, :3], "background": (255, 255, 255)})
    for _ in range(6):
        run.advance(data, torch.arange(4))
    assert seen == pytest.approx([0.02 * 0.1 ** (number / 10) for number in (1, 2, 3, 4, 1, 2)])


@pytest.fixture
def capture(tmp_path, monkeypatch):
    """The command for a tiny full recipe, and the folder of its files."""
    monkeypatch.setitem(RECIPES, "full", TINY)
    write_scene(get_scene("pearls"), tmp_path, 8, train=4, test=2)
    cameras = [f"--transforms={tmp_path}/transforms_train.json", f"--test={tmp_path}/transforms_test.json"]
    return tmp_path, ["train", "--recipe=full", "--size=8", "--test-views=2", *cameras]


def test_the_command_evaluates_keeps_the_best_and_goes_on_after_a_stop(call, capture, monkeypatch):
    folder, command = capture
    whole, stopped = (
        [*command, f"--out={folder}/{name}.safetensors", f"--json={folder}/{name}.json"] for name in ("one", "two")
    )
    status, _, err = call(*whole)
    assert (status, err.count("dB over 2 test views")) == (0, 10)
    record = json.loads((folder / "one.json").read_text())
    assert [one["step"] for one in record["evaluations"]] == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert (record["recipe"], record["size_pixels"], record["steps"]) == ("full", 8, 40)

    class Killed(BaseException):
        pass

    judged = Judge.psnr_db

    def killed(self, model, step):
        if step == 28:
            raise Killed
        return judged(self, model, step)

    monkeypatch.setattr(Judge, "psnr_db", killed)
    with pytest.raises(Killed):
        rtnerf.main([str(argument) for argument in stopped])
    monkeypatch.setattr(Judge, "psnr_db", judged)
    assert (folder / "two.safetensors").is_file()  # The best so far.
    assert call(*stopped)[0] == 0
    assert json.loads((folder / "two.json").read_text())["evaluations"] == record["evaluations"]
    one, two = (load_model(folder / f"{name}.safetensors") for name in ("one", "two"))
    for name, tensor in one.named_tensors().items():
        assert torch.equal(tensor, two.named_tensors()[name]), name
    assert not list(folder.glob("*.part"))


def test_the_model_of_the_best_evaluation_is_kept(call, capture, monkeypatch):
    folder, command = capture
    grids = []

    def judged(self, model, step):
        grids.append(model.basis.clone())
        return -abs(step - 16.0)  # The fourth is the best.

    monkeypatch.setattr(Judge, "psnr_db", judged)
    assert call(*command, f"--out={folder}/model")[0] == 0
    assert torch.equal(load_model(folder / "model").basis, grids[3].half().float())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe=fast"], "recipe must be one of default, full, not fast"),
        (["--test=a"], "test must be absent without transforms, not a"),
        (["--test-views=2"], "test-views must be absent without test, not 2"),
        (["--finetune=sample", "--recipe=full"], "recipe must be absent with finetune, not full"),
    ],
)
def test_options_that_contradict_each_other_are_refused(call, tmp_path, arguments, message):
    assert call("train", f"--out={tmp_path}/m", *arguments) == (2, "", f"error: {message}\n")


def test_more_test_views_than_there_are_is_refused(call, capture):
    folder, command = capture
    status, _, err = call(*command[:3], "--test-views=3", *command[4:], f"--out={folder}/m")
    assert (status, err) == (2, "error: test-views must be from 1 to 2, not 3\n")


def test_time_left_follows_the_last_tenth(monkeypatch):
    now = iter([0.0, 10.0, 20.0, 60.0])
    monkeypatch.setattr("rtnerf.train.time.monotonic", lambda: next(now))
    left = TimeLeft()
    assert left(100, 1000) == "unknown time"
    assert left(200, 1000) == "1 min 20 s"
    assert left(300, 1000) == "1 min 10 s"
    assert left(400, 1000) == "4 min 00 s"
