"""Where the numbers of the documents come from: each text is filled in from kept results, and must stand in its page.

A number edited in a document, or a result kept without its document, makes a text go missing. To state a new number,
add its text and its value; all other numbers stand in the ledger of `tests.stated`.
"""

import json
import re
from pathlib import Path
from statistics import mean

import pytest

from tests.stated import at, documents, ledger, says, sections

ROOT = Path(__file__).resolve().parents[1]


class Result:
    """A file of reports/results. ``result("a/*/b")``: the value at a path, a list where ``*`` is every entry."""

    def __init__(self, name):
        self._all = json.loads((ROOT / "reports" / "results" / f"{name}.json").read_text())

    def __call__(self, path):
        found = [self._all]
        for step in path.split("/"):
            if step == "*":
                found = [item for each in found for item in (each.values() if isinstance(each, dict) else each)]
            else:
                found = [each[int(step) if isinstance(each, list) else step] for each in found]
        return found if "*" in path else found[0]


def span(values, scale=1):
    """The least and the largest."""
    return scale * min(values), scale * max(values)


renderers, quality, simulator = Result("renderers_lego"), Result("quality_lego"), Result("simulator_lego")
lego, embedded, shading = Result("frames_lego"), Result("frames_embedded"), Result("shading")
per_sample, deferred = Result("ablation_lego"), Result("ablation_lego_deferred")
synthesis, mutations = Result("synthesis"), Result("mutations")
exact = [Result(f"exact_{name}") for name in ("lego", "embedded", "lego_deferred", "embedded_deferred")]
runs = [run for result in exact for run in result("exact/*")]
asap7 = synthesis("runs/tiny asap7")
mutants = [row for row in mutations("*") if not row["mutant"].endswith(".none")]
noticed = [row for row in mutants if row["mismatches"] or row["cycles_rtl"] != row["cycles_sim"]]
clock = asap7["clock_mhz_with_wires"] / 1000
"""GHz."""
edge_asap7 = synthesis("runs/edge asap7")
deferred_asap7 = synthesis("runs/edge-deferred asap7")
deferred_clock = deferred_asap7["clock_mhz_with_wires"] / 1000
joined = 1e6 / asap7["whole"]["delay_ps"] * clock * 1000 / asap7["clock_mhz"]
"""MHz of all units together, less what wires take."""
scenes = Result("scenes")
LOOKUP = "rtnerf specdec measure --proposer lookup --nodes 8 --prompts 16"
lookup = next(run for run in Result("specdec_decoding")("runs/*") if run["command"] == LOOKUP)
DEFERRED = "frames/deferred_tuned.safetensors/*"
STEP_1 = "frames/deferred_step_1.safetensors/*"
TUNED = "frames/tuned.safetensors/*"
SWITCHES = "all on", "no early termination", "uniform sampling", "all off"


def frames_per_second(result):
    return [result(f"runs/{name}/fps_at_clock_lowest") for name in SWITCHES]


def scene_quality(rung):
    return [scene["psnr_db"][rung] for scene in scenes("scenes/*")]


def scene_rates(kind, clock="clock"):
    return [scene["frames"][kind][f"fps_at_{clock}_lowest"] for scene in scenes("scenes/*")]


def trained(run):
    result = Result("training")(f"runs/{run}")
    return result["evaluated"]["psnr_db"], result["trained"]["processor_seconds"], result["trained"]["seconds"]


EIGHT_SCENES = (
    "L0 {:.1f} to {:.1f} dB, L2 at most {:.2f} dB below; tuned in `edge` {:.1f} to {:.1f} frames/s, "
    "deferred in `edge-deferred` {:.1f} to {:.1f} ({:.0f} to {:.0f})"
)
README = [
    ("{:.1f} to {:.1f} times faster", span([row["speedup"] for row in renderers("views/*") if row["termination"]])),
    ("{:.1f} to {:.1f} times as fast", (
        span([row["speedup_integer"] for row in renderers("views/*") if row["termination"]])
    )),
    ("{:.1f} to {:.1f} dB; without termination at most {:.1e} apart", (
        *span([row["psnr_cubes_vs_uniform_db"] for row in renderers("views/*") if row["termination"]]),
        max(row["max_abs_difference"] for row in renderers("views/*") if not row["termination"]),
    )),
    ("at most {:.3f} dB, mean {:.3f} dB", (quality("worst_loss_db"), quality("mean_loss_db"))),
    ("{} differing pixels, values, cycles", (
        sum(Result("cosimulation_lego_deferred")("runs/*/transaction_mismatches")),
    )),
    ("{} runs, {} of {:.1f} million transfers in another cycle", (
        len(runs), sum(run["transaction_mismatches"] for run in runs), sum(run["transactions"] for run in runs) / 1e6,
    )),
    ("{} of {} noticed", (len(noticed), len(mutants))),
    ("`tiny` {:.0f} million, {:.0f} times; `edge` {:.1f} million, {:.0f} times", (
        simulator("speed/0/simulator_cycles_per_second") / 1e6, simulator("speed/0/ratio"),
        simulator("speed/1/simulator_cycles_per_second") / 1e6, simulator("speed/1/ratio"),
    )),
    ("{:.1f} to {:.1f} frames/s in `edge` ({:.1f} to {:.1f})", (
        *span(lego("frames/reference/*/fps")), *span(lego("frames/reference/*/fps"), clock),
    )),
    ("network {:.0f} % busy |", (100 * mean(lego("frames/reference/*/busy_share")),)),
    ("{:.1f} to {:.1f} frames/s ({:.0f} to {:.0f}), network {:.0f} % busy, {:.1f} GB/s", (
        *span(lego(f"{TUNED}/fps")), *span(lego(f"{TUNED}/fps"), clock),
        100 * mean(lego(f"{TUNED}/busy_share")), max(lego(f"{TUNED}/gigabytes_per_second")),
    )),
    ("embedded scene {:.1f} to {:.1f} ({:.0f} to {:.0f}), at most {:.2f} dB below", (
        *span(embedded(f"{TUNED}/fps")), *span(embedded(f"{TUNED}/fps"), clock), max(embedded(f"{TUNED}/loss_db")),
    )),
    ("{:.0f} to {:.0f} frames/s in `edge-deferred` ({:.0f} to {:.0f}; {} multipliers", (
        *span(lego(f"{DEFERRED}/fps")), *span(lego(f"{DEFERRED}/fps"), deferred_clock),
        lego(f"{DEFERRED}/multipliers")[0],
    )),
    ("sample generator {:.0f} % busy, {:.1f} GB/s; embedded scene {:.1f} to {:.1f} ({:.0f} to {:.0f})", (
        100 * mean(lego(f"{DEFERRED}/busy_share")), max(lego(f"{DEFERRED}/gigabytes_per_second")),
        *span(embedded(f"{DEFERRED}/fps")), *span(embedded(f"{DEFERRED}/fps"), deferred_clock),
    )),
    ("tuned, `edge`: {:.1f}, {:.1f}, {:.1f}, {:.1f};", frames_per_second(per_sample)),
    ("{:.0f} to {:.0f} frames/s in `edge-deferred` ({:.0f} to {:.0f}), {:.1f} GB/s", (
        *span(lego(f"{STEP_1}/fps")), *span(lego(f"{STEP_1}/fps"), deferred_clock),
        max(lego(f"{STEP_1}/gigabytes_per_second")),
    )),
    ("deferred, `edge-deferred`: {:.1f}, {:.1f}, {:.1f}, {:.1f};", frames_per_second(deferred)),
    (EIGHT_SCENES, (
        *span(scene_quality("l0")), max(a - b for a, b in zip(scene_quality("l0"), scene_quality("l2"), strict=True)),
        *span(scene_rates("tuned")), *span(scene_rates("deferred")), *span(scene_rates("deferred", "library_clock")),
    )),
    ("| {:.0f} MHz, {:.0f} MHz less 20 % for wires; {:.0f} MHz, {:.0f} MHz ([", (
        asap7["clock_mhz"], 1000 * clock, 1e6 / asap7["whole"]["delay_ps"], joined,
    )),
    ("paths through several units allow {:.0f} and {:.0f})", (joined, 0.8e6 / edge_asap7["whole"]["delay_ps"])),
    ("lego {:.2f} dB after {:.0f} s of processor time ({:.0f} s on a busy machine)", trained(0)),
    ("mic {:.2f} dB after {:.0f} s ({:.0f} s)", trained(1)),
    ("{:.0f} times fewer evaluations of the network, {:.2f} against {:.2f} dB", (
        shading("3/colours") / shading("1/colours"), shading("1/mean_psnr_db"), shading("3/mean_psnr_db"),
    )),
    ("prompt lookup {:.2f} times plain decoding", (lookup["speedup"],)),
    ("{:.2f} / {:.2f} / {:.2f} / {:.2f} MB", [
        quality(f"encoded_bytes/{form}_bytes") / 1e6 for form in ("dense", "bitmap", "coordinate", "hybrid")
    ]),
    ("wires ({:.0f} MHz), with {} multipliers in the MLP engine ({} in `edge-deferred`)", (
        1000 * clock, lego(f"{TUNED}/multipliers")[0], lego(f"{DEFERRED}/multipliers")[0],
    )),
    ("runs at {:.0f} frames a second (lego) or {:.0f} (embedded) on `edge`", (
        mean(lego("frames/reference/*/fps")), mean(embedded("frames/reference/*/fps")),
    )),
]  # fmt: skip

KNOBS = [
    ("beside a per-sample model trained as long deferred shading loses {:.2f} dB", (
        shading("3/mean_psnr_db") - shading("1/mean_psnr_db"),
    )),
    ("loss against L0 of the untuned model ({:.3f} dB)", (Result("knobs_lego")("psnr_reference_db"),)),
    ("drawn at 200x200 (L0: {:.3f} dB)", (Result("knobs_embedded")("psnr_reference_db"),)),
]  # fmt: skip

DEFERRED_PAGE = [
    (f"| {{:.2f}} | {shading(f'{row}/colours'):,} |".replace(",", " "), (shading(f"{row}/mean_psnr_db"),))
    for row in (2, 3, 1)
]

SILICON = [
    ("{:.0f} MHz, set by the tree server; {:.0f} MHz less 20 % for wires", (asap7["clock_mhz"], 1000 * clock)),
    ("the longest path takes {:,.0f} ps ({:.0f} MHz), {:.0f} MHz less 20 % for wires", (
        asap7["whole"]["delay_ps"], 1e6 / asap7["whole"]["delay_ps"], joined,
    )),
    ("{:.3f} mm2 of logic ({:,} cells, {:,} flip-flops), {:.3f} mm2 of memory macros (assumed), {:.0f} KiB", (
        asap7["logic_mm2"], asap7["cells"], asap7["flip_flops"], asap7["memory_mm2"], asap7["memory_bytes"] / 1024,
    )),
    ("multipliers {:.4f} mm2, adders {:.4f}, selection {:.4f}, control {:.4f}", [
        asap7["area_by_kind_mm2"][kind] for kind in ("multipliers", "adders", "selection", "control")
    ]),
    ("{:.0f} MHz, set by the tree server ({:.0f} ps;", (
        edge_asap7["clock_mhz"], edge_asap7["units"]["tree_server"]["delay_ps"],
    )),
    ("{:.2f} mm2, memory macros (assumed) of {:,} bytes among it. 28 nm class, by scaling: {:.1f} to {:.1f} mm2", (
        edge_asap7["area_mm2"], edge_asap7["memory_bytes"], *edge_asap7["area_28nm_mm2"],
    )),
    ("{:.0f} MHz, set by the network's datapath", (deferred_asap7["clock_mhz"],)),
    ("{:.0f} MHz less 20 % for wires. With all units joined {:,.0f} ps, along", (
        deferred_asap7["clock_mhz_with_wires"], deferred_asap7["whole"]["delay_ps"],
    )),
    ("{:.3f} mm2 of logic ({:,} cells, {:,} flip-flops): the network", (
        deferred_asap7["logic_mm2"], deferred_asap7["cells"], deferred_asap7["flip_flops"],
    )),
    ("{:.3f} mm2 of memory macros (assumed), {:,} bytes. 28 nm class, by scaling: {:.1f} to {:.1f} mm2", (
        deferred_asap7["memory_mm2"], deferred_asap7["memory_bytes"], *deferred_asap7["area_28nm_mm2"],
    )),
    ("registers {:.4f}. 28 nm class, by scaling: {:.2f} to {:.2f} mm2", (
        asap7["area_by_kind_mm2"]["registers"], *asap7["area_28nm_mm2"],
    )),
]  # fmt: skip

SIMULATOR = [("({} runs: three views", (len(runs),))]

speculation = Result("specdec")


def decoding(proposer, temperature, key="tau"):
    """A column of the sweep over numbers of nodes, of a proposer at a temperature."""
    rows = speculation("sweep/*")
    return [row[key] for row in rows if (row["proposer"], row["temperature"]) == (proposer, temperature)]


def speedup(proposer):
    return max(run["speedup"] for run in speculation("speed/*") if run["proposer"] == proposer)


SPECDEC = [
    ("DySpec gives {:.2f} tokens a step, a static tree {:.2f}", (
        decoding("dyspec", 1)[-1], decoding("static", 1)[-1],
    )),
    ("{:.2f} draft passes a step", (decoding("dyspec", 1, "draft_passes")[-1],)),
    ("DySpec is ahead of the static tree ({:.2f} and {:.2f})", (
        decoding("dyspec", 0)[-1], decoding("static", 0)[-1],
    )),
    ("adds nothing to its drafter ({:.2f} both)", (decoding("rasd", 1)[-1],)),
    ("adds nothing to its drafter ({:.2f} both)", (decoding("dyspec-threshold", 1)[-1],)),
    ("`lookup` alone gives {:.2f}", (decoding("lookup", 1)[-1],)),
    ("Medusa's heads ({:.2f} to {:.2f} times", span(decoding("medusa", 0, "speedup"))),
    ("EAGLE-2's trees ({:.2f} to {:.2f}, temperature 0)", span(decoding("eagle2", 0, "speedup"))),
    ("`rasd` {:.2f}, `medusa-lookup` {:.2f} times plain decoding", (speedup("rasd"), speedup("medusa-lookup"))),
    ("`lookup` {:.2f} times plain decoding with 8 nodes ({:.2f} tokens a step)", (lookup["speedup"], lookup["tau"])),
]  # fmt: skip

SCENE = (
    "| {} | {:.2f} | {:.2f} | {:.2f} | {:.2f} | {:.1f} | {:.1f} | {:.1f} ({:.0f}) "
    "| {:.2f} | {} | {} {:.0f} % | {:.1f} | {:.1f} |"
)
SCENES = [
    (SCENE, (
        scene["scene"], *scene["psnr_db"].values(),
        *(scene["frames"][kind]["fps_at_clock_lowest"] for kind in ("trained", "tuned", "deferred")),
        made["fps_at_library_clock_lowest"], made["image_bytes"] / 1e6, made["live_cubes"],
        made["bottleneck"], 100 * made["bottleneck_share"],
        scene["ideas"]["no early termination"], scene["ideas"]["uniform sampling"],
    ))
    for scene in scenes("scenes/*")
    for made in [scene["frames"]["deferred"]]
]  # fmt: skip

TEXTS = {
    "README.md": README, "docs/knobs.md": KNOBS, "docs/deferred.md": DEFERRED_PAGE, "docs/silicon.md": SILICON,
    "docs/simulator.md": SIMULATOR, "docs/specdec.md": SPECDEC, "docs/scenes.md": SCENES,
}  # fmt: skip

KNOBS_TABLE = "| | PSNR, dB | change, dB | samples | shaded | live cubes | factors, MB | Mcycles | frames/s at 1 GHz |"
FRAMES_TABLE = "| scene | model, configuration | million cycles | frames/s | busiest unit | GB/s | change of PSNR, dB |"
UNITS_TABLE = "| unit | cells | um2 | flip-flops | memory bits | ps | path |"
TABLES = KNOBS_TABLE, FRAMES_TABLE, UNITS_TABLE


def read(name):
    """A document, with one space where it breaks lines."""
    return re.sub(r"\s+", " ", (ROOT / name).read_text())


def rows(name, first):
    """The rows of the table whose header begins with some text, each as its cells."""
    lines = (ROOT / name).read_text().split(first)
    assert len(lines) == 2, f"{name} must have one table that begins with {first!r}"
    table = lines[1].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def filled(text, values):
    """A text with its numbers; a power of ten is written without a zero before it."""
    return re.sub(r"e-0(?=\d)", "e-", text.format(*values))


def bound(name):
    """The texts of a document that are filled in from results."""
    return [filled(text, values) for text, values in TEXTS.get(name, ())]


@pytest.mark.parametrize(("name", "text", "values"), [(name, *line) for name, lines in TEXTS.items() for line in lines])
def test_a_document_has_the_numbers_of_the_kept_results(name, text, values):
    assert filled(text, values) in read(name)


@pytest.mark.parametrize("name", documents())
def test_every_other_number_is_in_the_ledger_with_where_it_comes_from(name):
    entries = ledger()[name]
    assert {heading: entry["numbers"] for heading, entry in entries.items()} == dict(
        sections(name, bound(name), TABLES)
    ), "python -m tests.stated"
    assert [heading for heading, entry in entries.items() if not entry["by"]] == []
    for entry in entries.values():
        for text, place in entry.get("found", {}).items():
            assert says(text, at(place)), (text, place)


def knob_name(name):
    """A row of a file of knobs as the document calls it."""
    names = {
        "recommended": "**recommended**",
        "fine_tuned.safetensors": "alpha 3e-4, threshold 2e-3, pruned, fine-tuned",
        "fine_tuned_step_1.safetensors": "the same at step ratio 1",
    }
    small = re.sub(r"0\.000(\d)$", r"\1e-4", name)
    return names.get(name, re.sub(r"0\.00(\d)$", r"\1e-3", small))


@pytest.mark.parametrize(("scene", "place"), [("lego", 0), ("embedded", 1)])
def test_the_tables_of_knobs_are_the_kept_results(scene, place):
    text = (ROOT / "docs" / "knobs.md").read_text().split(KNOBS_TABLE)[1 + place].partition("\n\n")[0].splitlines()[2:]

    def thousands(count):
        return f"{round(count, -3):,}".replace(",", " ")

    expected = []
    for name, row in Result(f"knobs_{scene}")("rows").items():
        change = "0.000" if row["loss_db"] == 0 else f"{-row['loss_db']:+.3f}"
        cells = [
            knob_name(name), f"{row['psnr_db']:.2f}", change, thousands(row["samples"]),
            thousands(row["samples_shaded"]), f"{row['live_cubes']:,}".replace(",", " "),
            f"{row['factor_bytes'] / 1e6:.2f}", f"{row['cycles'] / 1e6:.2f}", f"{row['fps']:.0f}",
        ]  # fmt: skip
        expected.append(f"| {' | '.join(cells)} |")
    assert text == expected


def between(values, places):
    """The least and the largest, or both at once where they look the same."""
    return " to ".join(dict.fromkeys(f"{value:.{places}f}" for value in span(values)))


def test_the_table_of_frames_is_the_kept_results():
    models = {
        "untuned": "reference", "recommended": "tuned.safetensors", "deferred": "deferred_tuned.safetensors",
        "step ratio 1": "fine_tuned_step_1.safetensors", "deferred at step ratio 1": "deferred_step_1.safetensors",
    }  # fmt: skip
    for scene, model, cycles, rate, busiest, traffic, change in rows("docs/knobs.md", FRAMES_TABLE):
        result = {"lego": lego, "embedded": embedded}[scene](f"frames/{models[model.partition(',')[0]]}/*")
        assert cycles == ", ".join(f"{frame['cycles'] / 1e6:.1f}" for frame in result), (scene, model)
        assert rate == "{:.1f} to {:.1f}".format(*span([frame["fps"] for frame in result])), (scene, model)
        units = ", ".join(f"`{unit}`" for unit in sorted({frame["busiest"] for frame in result}))
        assert busiest == f"{units} {between([100 * frame['busy_share'] for frame in result], 0)} %", (scene, model)
        assert traffic == between([frame["gigabytes_per_second"] for frame in result], 1), (scene, model)
        losses = [f"{-frame['loss_db']:+.3f}" if frame["loss_db"] else "0.000" for frame in result]
        assert change == ", ".join(losses), (scene, model)


def test_the_table_of_units_is_the_kept_synthesis():
    for name, *cells in rows("docs/silicon.md", UNITS_TABLE):
        unit = asap7["units"][name]
        numbers = [unit[key] for key in ("cells", "area_um2", "flip_flops", "memory_bits", "delay_ps")]
        path = f"`{unit['path']['from']}` -> `{unit['path']['to']}`".replace("\\", "")
        assert cells == [*(f"{number:,.0f}" for number in numbers), path], name
