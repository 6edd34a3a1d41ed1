// What the served page can do besides: simulate the view on the screen with any configuration and idea, and look into a pixel.

const CHOICES = ABOUT.live ?? {};
const runs = [];  // Of this visit, the newest first.
const MOST_RUNS = 6;
const CLICK_PIXELS = 4;  // That a pointer may move in a click.

// Streams that a sample passes, and what they say of it.
const STAGES = { samples: "generated", opaque: "opaque", visible: "visible", shade_jobs: "to the network", coloured: "coloured" };

const cameraText = (camera) => [...camera.position, ...camera.rotation].join();
const chosen = () => Object.fromEntries(Object.keys(CHOICES).map((name) => [name, byId(`choice-${name}`).value]));

async function ask(name, values) {
    const answer = await fetch(`${name}?${new URLSearchParams(values)}`), found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    return found;
}

// Ask, and show what comes, or why nothing does; the button rests meanwhile.
async function question(work) {
    byId("simulate").disabled = true;
    byId("told").textContent = "simulating ...";
    try {
        await work();
        byId("told").textContent = "";
    } catch (error) {
        byId("told").textContent = error.message;
    }
    byId("simulate").disabled = false;
}

const tableOf = (header, rows) => element("table", {},
    element("tr", {}, ...header.map((text) => element("th", { scope: "col" }, text))),
    ...rows.map((row) => element("tr", {}, ...row.map((text) => element("td", {}, String(text))))));

// A view that has just been simulated stands beside those the page came with, or in place of the one at the same camera.
function addView(view) {
    const camera = cameraOf(view.c2w), at = CAMERAS.findIndex((each) => same(each, camera));
    if (at >= 0) VIEWS[at] = view;
    else CAMERAS.push(camera), VIEWS.push(view);
}

// What a run is told by, the units of all runs below: each is a line, each run a column beside the others.
function showRuns() {
    const newest = runs[0].view.result.cycles;
    const lines = {
        "ideas": ({ choice }) => Object.keys(CHOICES)
            .filter((name) => !["model", "config"].includes(name) && choice[name] !== CHOICES[name][0])
            .map((name) => `${name} ${choice[name]}`).join(", ") || "all on",
        "cycles": ({ view }) => spaced(view.result.cycles),
        "newest = 1": ({ view }) => (view.result.cycles / newest).toFixed(3),
        "frames/s": ({ view }) => view.result.fps_at_clock.toPrecision(3),
        "MB": ({ view: { result } }) => ((result.dram_read_bytes + result.dram_write_bytes) / 1e6).toFixed(2),
        "mJ": ({ view }) => view.energy?.map((value) => value.toPrecision(3)).join(" to ") ?? "not known",
        "samples": ({ view }) => spaced(view.result.samples),
        "shaded": ({ view }) => spaced(view.result.samples_shaded),
        "busiest": ({ view }) => view.result.bottleneck.replaceAll("_", " "),
    };
    for (const name of new Set(runs.flatMap(({ view }) => Object.keys(view.result.units))))
        lines[name.replaceAll("_", " ")] = ({ view: { result } }) => result.units[name] ? spentBy(result.units[name], result.cycles) : "";
    byId("runs").replaceChildren(tableOf(["", ...runs.map(({ choice }) => choice.config)],
        Object.entries(lines).map(([name, told]) => [name, ...runs.map(told)])));
}

// How a unit spends a frame: busy, and its longest wait.
function spentBy(unit, cycles) {
    const [cause, most] = Object.entries(unit.stall_cycles).sort(([, a], [, b]) => b - a)[0] ?? [];
    return percent(unit.busy_share) + (most ? `, waits for ${cause} ${percent(most / cycles)}` : "");
}

function showPixel(found) {
    const [red, green, blue, opacity] = found.rgba.map((value) => value.toFixed(4));
    const cycle = (value) => value === undefined ? "" : spaced(value);
    byId("pixel").replaceChildren(
        element("p", {}, `Pixel ${found.x}, ${found.y}: red ${red}, green ${green}, blue ${blue}, opacity ${opacity}; ` +
            `${found.samples.length} samples, ${found.shaded} shaded; alone it takes ${spaced(found.cycles)} cycles: ` +
            Object.entries(found.stages).map(([name, [first, last]]) => `${name} ${spaced(first)} to ${spaced(last)}`).join(", ")),
        tableOf(["sample", "cell", "alpha", "weight", "left", "colour", ...Object.values(STAGES)], found.samples.map((sample) => [
            sample.index, sample.cell.map((value) => value.toFixed(2)).join(" "), sample.alpha.toFixed(4), sample.weight.toFixed(4),
            sample.transmittance.toFixed(4), sample.rgb?.map((value) => value.toFixed(3)).join(" ") ?? "",
            ...Object.keys(STAGES).map((stage) => cycle(sample.cycles[stage])),
        ])));
}

// `now` returns the camera; `done` is called when a view has been simulated. Returns what simulates one of the page's views
// that has no result yet, once.
function startLive(canvas, now, done) {
    byId("live").hidden = false;
    byId("choices").replaceChildren(...Object.entries(CHOICES).map(([name, values]) => {
        const choice = element("select", { id: `choice-${name}` }, ...values.map((value) => new Option(value)));
        return element("label", {}, `${name} `, choice);
    }));
    byId("choice-model")?.addEventListener("change", (event) => { location.href = `?${new URLSearchParams({ model: event.target.value })}`; });
    const simulate = (camera) => question(async () => {
        const choice = chosen(), view = await ask("simulate", { ...choice, camera: cameraText(camera) });
        runs.unshift({ choice, view });
        runs.length = Math.min(runs.length, MOST_RUNS);
        showRuns();
        addView(view);
        done();
    });
    byId("simulate").addEventListener("click", () => simulate(now()));
    let from = null;
    canvas.addEventListener("pointerdown", (event) => { from = event; });
    canvas.addEventListener("click", (event) => {
        if (!from || Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > CLICK_PIXELS) return;
        const x = Math.floor(event.offsetX / canvas.clientWidth * ABOUT.camera.width);
        const y = Math.floor(event.offsetY / canvas.clientHeight * ABOUT.camera.height);
        const { sampling: _, ordering: __, ...choice } = chosen();  // A ray alone has no order of cubes.
        question(async () => showPixel(await ask("pixel", { ...choice, camera: cameraText(now()), x, y })));
    });
    const asked = new Set();
    return (number) => {
        if (asked.has(number) || byId("simulate").disabled) return;
        asked.add(number);
        simulate(CAMERAS[number]);
    };
}
