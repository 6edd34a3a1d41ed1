from pathlib import Path

import pytest

from nerf.contract.config import load_config
from rtnerf.base.errors import InputError
from rtnerf.explore import points
from rtnerf.explore.points import point_of
from rtnerf.explore.space import Range, load_specification


def read(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return load_specification(path)


def test_the_points_of_a_grid_a_list_and_samples_each_once(tmp_path):
    space = read(
        tmp_path,
        """
        samples = 3
        [fixed]
        config = "edge"
        [grid]
        sample_queue = [64, 1024]
        precision = [{factor_bits = 8}, {factor_bits = 6, encoding = "dense"}]
        [[points]]
        config = "tiny"
        [[points]]
        sample_queue = 64
        [space]
        mlp_batch = {low = 1, high = 64}
        write_bursts = {low = 4, high = 16}
        memory = ["ideal", "lpddr4"]
        """,
    )
    points, refused = space.points(seed=1)
    assert refused == []
    assert len(points) == 4 + 1 + 3  # The second of the list is in the grid.
    grid = [(point.config.sample_queue, point.knobs.factor_bits, point.switches.encoding) for point in points[:4]]
    assert grid == [(64, 8, "hybrid"), (64, 6, "dense"), (1024, 8, "hybrid"), (1024, 6, "dense")]
    assert points[2].config == load_config("edge")
    assert points[4].config == load_config("tiny")
    assert points[0].config.name.startswith("edge-")
    for point in points[5:]:
        assert point.config.write_bursts in (4, 8, 16)
        assert 1 <= point.config.mlp_batch <= 64

    def digests(seed):
        return [point.digest for point in space.points(seed)[0]]

    assert digests(1) == digests(1) == [point.digest for point in points]
    assert digests(1)[:5] == digests(2)[:5]
    assert digests(1)[5:] != digests(2)[5:]


def test_what_does_not_go_together_is_refused_with_its_rule(tmp_path):
    space = read(
        tmp_path, "[grid]\nmlp_lanes = [64, 128]\nhidden = [64, 128]\nmemory = ['lpddr4', 'fixed']\nlatency = [9]"
    )
    points, refused = space.points(0)
    assert [(point.config.mlp_lanes, point.config.hidden) for point in points] == [(64, 64), (64, 128), (128, 128)]
    rules = [refusal.rule for refusal in refused]
    assert rules.count("mlp_lanes must be at most hidden (64), not 128") == 2
    assert rules.count("latency must be absent with memory lpddr4, not 9") == 3
    assert refused[0].settings == {"mlp_lanes": 64, "hidden": 64, "memory": "lpddr4", "latency": 9}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 3", r"^specification must be made of the keys fixed, grid, points, space, .*, not size$"),
        ("[fixed]\nsizes = 3", r"^fixed must be made of the settings .*, not sizes$"),
        ("[grid]\nboxes = [3]", r"^grid.boxes must be made of the settings .*, not boxes$"),
        ("[grid]\ntile = []", r"^grid.tile must be a list of at least one value, not \[\]$"),
        ("[grid]\nboth = [{tile = 16, sise = 2}]", r"^grid.both must be made of the settings .*, not sise$"),
        ("points = 3", r"^points must be an array of tables, not 3$"),
        ("samples = -1", r"^samples must be a whole number of at least 0, not -1$"),
        ("samples = 4", r"^space must be given with samples, not missing$"),
        ("[space]\ntile = {low = 4}", r"^space.tile.high must be a number, not None$"),
        ("[space]\ntile = {low = 4, to = 8}", r"^space.tile must be a list, or a table of low, high and log, not to$"),
        ("[space]\ntile = {low = 4, high = 24}", r"^tile must be between powers of two, not 24$"),
        ("[space]\nmlp_batch = {low = 4, high = 4}", r"^mlp_batch.low must be below high \(4\), not 4$"),
        ("synthesis = 3", r"^synthesis must be a list of files, not 3$"),
        ("a = [", r"^specification must be a readable TOML file, not .* \("),
    ],
)
def test_bad_specifications_are_refused(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_an_empty_space_is_refused_with_the_first_reason(tmp_path):
    with pytest.raises(InputError, match=r"^space must have at least one point, not 0 \(0 are refused\)$"):
        read(tmp_path, "").points(0)
    with pytest.raises(InputError, match=r"not 0 \(2 are refused, the first because tile must be a power of two"):
        read(tmp_path, "[grid]\ntile = [3, 5]").points(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"memory": "hbm"}, "memory must be one of lpddr4, lpddr5, hbm2, fixed, ideal, slow, not hbm"),
        ({"channels": 3}, "channels must be a power of two, 1 to 16, not 3"),
        ({"channels": "4"}, "channels must be a number, not '4'"),
        ({"memory": "fixed", "channels": 2}, "channels must be absent with memory fixed, not 2"),
        ({"views": [0, 0]}, "views must be different, not [0, 0]"),
        ({"views": []}, "views must be whole numbers of at least 0, not ()"),
        ({"size": 0}, "size must be whole numbers of at least 1, not (0,)"),
        ({"clock_mhz": 0}, "clock_mhz must be above 0 and at most 10000, not 0"),
        ({"factor_bits": 7.5}, "factor_bits must be a whole number, not 7.5"),
        ({"termination": 1}, "termination must be a number of at least 0 and below 1, not 1"),
        (
            {"config": "huge"},
            "config must be one of tiny, nano, edge, edge-deferred, cloud or an existing TOML file, not huge",
        ),
        ({"model": "/nowhere/m.th"}, "model must be an existing file, not /nowhere/m.th"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError) as refusal:
        point_of(settings, Path())
    assert str(refusal.value) == message


def test_a_point_is_named_by_all_that_its_results_depend_on(tmp_path):
    plain = point_of({}, tmp_path)
    assert plain.digest == point_of({"config": "tiny", "sample_queue": 16, "model": "embedded"}, tmp_path).digest
    for settings in ({"sample_queue": 32}, {"views": [1]}, {"channels": 2}, {"clock_mhz": 500}, {"prune_density": 0.1}):
        assert point_of(settings, tmp_path).digest != plain.digest, settings


def test_files_are_relative_to_the_folder(tmp_path):
    (tmp_path / "mine.toml").write_text("sample_lanes = 2\n")
    (tmp_path / "m.th").write_text("")
    point = point_of({"config": "mine.toml", "model": "m.th"}, tmp_path)
    assert (point.config.sample_lanes, point.config.name) == (2, "mine")
    assert point.subject.model == str(tmp_path / "m.th")


def test_a_range_draws_all_of_its_values_and_no_other():
    import random

    chance = random.Random(0)

    def drawn(axis):
        return {axis.draw(chance) for _ in range(200)}

    assert drawn(Range("write_bursts", 2, 16)) == {2, 4, 8, 16}
    assert drawn(Range("mlp_batch", 1, 3)) == {1, 2, 3}
    assert drawn(Range("mlp_batch", 1, 3, log=True)) == {1, 2, 3}
    assert all(0.5 <= value <= 2 for value in drawn(Range("step_ratio", 0.5, 2.0)))
    assert all(1e-4 <= value <= 1e-2 for value in drawn(Range("occupancy_alpha", 1e-4, 1e-2, log=True)))


def test_a_capture_that_changes_is_another_point(tmp_path):
    capture = tmp_path / "capture"
    (capture / "images").mkdir(parents=True)
    (capture / "transforms.json").write_text("{}")

    def found():
        points.file_digest.cache_clear()
        return point_of({"transforms": "capture"}, tmp_path).digest

    first = found()
    assert found() == first
    (capture / "images" / "0.png").write_bytes(b"picture")
    second = found()
    (capture / "transforms.json").write_text('{"frames": []}')
    assert len({first, second, found()}) == 3
