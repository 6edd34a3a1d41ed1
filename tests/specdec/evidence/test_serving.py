"""Served rows beside the model: two numbers an engine and GPU, models that the fit has not seen, hostile files."""

import csv
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from rtnerf.base.errors import InputError
from rtnerf.base.folders import data_folder
from specdec.command_line.group import specdec
from specdec.evidence.serving import Engine, Run, compare, fit, read_runs

HEAD = "backend,model_path,system,isl,osl,batch_size,tp_size,gemm_quant_mode,silicon_tpot_ms\n"
LINE = "vllm,meta-llama/Llama-3.1-8B-Instruct,h100_sxm,1024,512,8,1,,7.4\n"


def written(tmp_path, text):
    path = tmp_path / "served.csv"
    path.write_text(text)
    return path


def made(engine, model, numbers):
    """Runs of an engine that is exactly as the model has it."""
    true = Engine(*numbers)
    runs = [
        Run(engine, model, "gpu", work, starts, 1.0) for work, starts in ((2.0, 64), (8.0, 64), (9.0, 128), (30.0, 70))
    ]
    return [Run(engine, model, "gpu", run.work, run.starts, true.ms(run)) for run in runs]


def test_a_fit_finds_the_engine_in_spite_of_an_outlier():
    runs = made("one", "a", (0.8, 30.0))
    assert fit(runs).reached == pytest.approx(0.8, rel=1e-3)
    assert fit(runs).block_us == pytest.approx(30, rel=1e-3)
    wrong = Run("one", "a", "gpu", 8.0, 64, 40.0)
    assert fit([*runs, *runs, wrong]).reached == pytest.approx(0.8, rel=0.05)


def test_a_model_is_predicted_from_the_others_alone():
    runs = [*made("one", "a", (0.8, 30.0)), *made("one", "b", (0.8, 30.0)), *made("one", "c", (0.4, 60.0))]
    record = compare(runs).record()
    assert record["by_model"]["a"]["rows"] == 4
    assert not compare(made("one", "a", (15.0, 30.0))).record()["fitted"][0]["physical"]
    assert "FASTER THAN THE DATA SHEET" in compare(made("one", "a", (15.0, 30.0))).summary
    assert "FASTER" not in compare(runs).summary
    # Half as fast as what the fit has seen.
    assert record["by_model"]["c"]["median_absolute_error_unseen"] == pytest.approx(0.5, abs=0.05)
    assert compare(made("one", "a", (0.8, 30.0))).record()["median_absolute_error_unseen"] is None


def test_an_engine_on_a_gpu_without_rows_is_as_on_others():
    on_another = [replace(run, machine="new") for run in made("one", "b", (0.4, 60.0))]
    runs = [*made("one", "a", (0.4, 60.0)), *made("two", "a", (0.8, 30.0)), *on_another]
    # One fit to both engines is 49 % off.
    assert compare(runs).record()["by_gpu"]["new"]["median_absolute_error_unseen"] < 0.1


def test_as_many_numbers_as_rows_are_no_evidence():
    record = compare([*made("one", "a", (0.8, 30.0)), *made("two", "b", (0.4, 60.0))[:2]]).record()
    assert record["by_model"]["b"]["rows"] == 2
    assert record["by_model"]["b"]["median_absolute_error"] is None
    assert record["median_absolute_error"] == pytest.approx(0, abs=0.01)
    assert "not counted: 2 rows" in compare(made("one", "a", (0.8, 30.0))[:2]).summary


def test_more_requests_longer_prompts_and_less_parallelism_take_longer(tmp_path):
    lines = [LINE, LINE.replace(",8,1,", ",64,1,"), LINE.replace("1024", "4096"), LINE.replace(",8,1,", ",8,4,")]
    first, more, longer, parallel = read_runs(written(tmp_path, HEAD + "".join(lines)))[0]
    assert parallel.work < first.work < min(more.work, longer.work)
    assert first.starts == pytest.approx(64 * (1 + 0.8 * 8 / 512))


def test_names_of_models_and_gpus(tmp_path):
    same = ("meta-llama/Meta-Llama-3.1-8B", "RedHatAI/Llama-3.1-8B-Instruct-FP8", "llama-3.1-8b")
    other = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "x/Llama-3.1-8B-Medusa", "")
    text = HEAD + "".join(LINE.replace("meta-llama/Llama-3.1-8B-Instruct", name) for name in same + other)
    text += LINE.replace("h100_sxm", "abacus") + LINE.replace(",1,,", ",1,ternary,")
    runs, skipped = read_runs(written(tmp_path, text))
    assert len(runs) == 3
    assert skipped == {**{f"no model {name}": 1 for name in other}, "no GPU abacus": 1, "no format ternary": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "serving must be a CSV file, not .* .an empty file."),
        ("a\n", "columns of serving must be backend"),
        (HEAD, "serving must be a file with rows of known models and GPUs, not"),
        (HEAD.replace("isl,", "length,") + LINE, "not without isl"),
        (HEAD + LINE.replace("7.4", "nan"), "serving line 2: silicon_tpot_ms must be a time above 0, not nan"),
        (HEAD + LINE.replace("1024", "9" * 5000), "serving line 2: isl must be a whole number from 1 to"),
        (HEAD + LINE.replace("1024", "-5"), "serving line 2: isl must be a whole number"),
        (HEAD + LINE.replace("512", "0"), "serving line 2: osl must be a whole number"),
        (HEAD + "vllm\n", "serving must be a file with rows of known models"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_runs(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1


def test_the_command(tmp_path):
    path = written(tmp_path, HEAD + LINE + 2 * LINE.replace("7.4", "7.6"))
    arguments = ["validate", f"--serving={path}", f"--json={tmp_path}/out.json", f"--csv={tmp_path}/out.csv"]
    arguments.append(f"--plot={tmp_path}/out.svg")
    result = CliRunner().invoke(specdec, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["rows"] == found["by_gpu"]["h100_sxm"]["rows"] == 3
    assert (tmp_path / "out.csv").read_text().splitlines()[1].endswith(f",{found['median_absolute_error']},")
    assert found["median_absolute_error"] < 0.05
    assert "<svg" in (tmp_path / "out.svg").read_text()
    with pytest.raises(InputError, match="file must be one of acceptance, serving, rows, not acceptance and serving"):
        CliRunner().invoke(specdec, [*arguments, f"--acceptance={path}"], catch_exceptions=False)


@pytest.mark.data
def test_the_served_models():
    path = data_folder() / "specdec" / "measured_serving.csv"
    if not path.is_file():
        pytest.skip(f"no data set at {path}: set RTNERF_DATA to the folder that holds specdec/")
    found = compare(*read_runs(path)).record()
    with path.open() as file:
        assert found["rows"] == sum(1 for _ in csv.DictReader(file))
    assert found["median_absolute_error"] < 0.07
    assert found["median_absolute_error_unseen"] < 0.09
    for name, one in (found["by_model"] | found["by_gpu"] | found["by_model_and_gpu"]).items():
        assert one["median_absolute_error"] < 0.1, name
        assert one["median_absolute_error_unseen"] < 0.15, name
