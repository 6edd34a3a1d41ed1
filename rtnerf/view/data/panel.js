// What stands beside the picture: the simulator's result of the nearest simulated view, the map of the views, the legend.

const RAMP = [[12, 16, 60], [60, 60, 160], [40, 160, 150], [230, 190, 60], [255, 245, 220]];
const LAYERS = [
    { name: "picture", channel: -1, text: "the accelerator's bits" },
    { name: "samples", channel: 0, text: "samples composited" },
    { name: "cubes", channel: 1, text: "cubes that samples are taken in" },
    { name: "depth", channel: 2, text: "steps from where the ray enters the box to its last sample" },
    { name: "shaded", channel: 3, text: C.DEFERRED ? "evaluations of the network (deferred: one a ray)" : "samples shaded" },
    { name: "cycles", channel: 4, text: "cycles from tile to tile, of the simulator (the RTL's)" },
];
const COUNTED = { samples: "samples", shaded: "samples_shaded" };  // Layers, and what the simulator calls their sums.

const byId = (id) => document.getElementById(id);
const spaced = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
}

// A line of a bar chart: parts are [class, share, what it is].
function bar(name, parts, value) {
    const line = element("span", { class: "bar" });
    for (const [kind, share, text] of parts) {
        const part = element("span", { class: kind, title: `${text}: ${percent(share)}` });
        part.style.width = `${100 * share}%`;
        line.append(part);
    }
    return [element("dt", {}, name), element("dd", {}, line, element("span", { class: "value" }, value))];
}

// A strip from the start of the frame to its end, the darker the busier; shares in percent of parts of equal length.
function strip(shares) {
    const edge = (at) => `${(100 * at / shares.length).toFixed(2)}%`;
    const stops = shares.map((share, at) => `color-mix(in srgb, var(--busy) ${share}%, var(--line)) ${edge(at)} ${edge(at + 1)}`);
    const made = element("span", { class: "strip", role: "img", "aria-label": `busy in percent, over the frame: ${shares.join(" ")}` });
    made.style.background = `linear-gradient(90deg, ${stops.join()})`;
    return made;
}

function showResult(number) {
    const { result, cost, timeline } = VIEWS[number];
    byId("which").textContent = `${result ? "Simulated view" : "View"} ${number} of 0 to ${VIEWS.length - 1}`;
    document.body.classList.toggle("bare", !result);
    if (!result) return;
    const { cycles, units } = result;
    byId("rate").textContent = `${result.fps_at_clock.toPrecision(3)} frames/s`;
    byId("facts").textContent =
        `${spaced(cycles)} cycles at an assumed ${spaced(result.clock_hz / 1e6)} MHz, ${ABOUT.camera.width}x${ABOUT.camera.height}` +
        ` pixels, ${result.config}, ${result.memory.kind}; ${spaced(result.samples)} samples, ${spaced(result.samples_shaded)}` +
        ` shaded; busiest: ${result.bottleneck}`;
    byId("cost").textContent = cost;
    byId("units").replaceChildren(...Object.entries(units).reverse().flatMap(([name, unit]) => {
        const waits = Object.entries(unit.stall_cycles).map(([cause, spent]) => [`wait ${cause}`, spent / cycles, `waits for ${cause}`]);
        return bar(name.replaceAll("_", " "), [["busy", unit.busy_share, "busy"], ...waits], percent(unit.busy_share));
    }));
    byId("timeline").replaceChildren(...Object.entries(timeline).reverse().flatMap(([name, shares]) =>
        [element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, strip(shares))]));
    const bytes = { ...result.dram_read_bytes_by_kind, "written": result.dram_write_bytes };
    const most = Math.max(...Object.values(bytes));
    byId("bytes").replaceChildren(...Object.entries(bytes).flatMap(([name, count]) =>
        bar(name.replaceAll("_", " "), [["busy", count / most, "of the largest"]], `${(count / 1e6).toFixed(2)} MB`)));
}

// ---- The map: the ring of views from above, and where the camera is ----

const SVG = "http://www.w3.org/2000/svg";

function drawn(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
}

// A point of the world seen from the tip of the upright axis.
function fromAbove(point) {
    const axis = ABOUT.up.findIndex((value) => value !== 0), flat = added(point, ABOUT.centre, -1);
    return [flat[(axis + 1) % 3] * ABOUT.up[axis], -flat[(axis + 2) % 3]];
}

function showMap(go) {
    const places = CAMERAS.map(({ position }) => fromAbove(position));
    const reach = 1.3 * Math.max(...places.flat().map(Math.abs), 1e-6);
    byId("map").setAttribute("viewBox", [-reach, -reach, 2 * reach, 2 * reach].join(" "));
    byId("map").replaceChildren(drawn("circle", { class: "centre", r: reach / 30 }), ...places.map(([x, y], number) => {
        const dot = drawn("circle", { class: "view", cx: x, cy: y, r: reach / 11, tabindex: 0, role: "button" });
        dot.setAttribute("aria-label", `view ${number}`);
        dot.append(Object.assign(drawn("title", {}), { textContent: `view ${number}` }));
        dot.addEventListener("click", () => go(number));
        dot.addEventListener("keydown", (event) => ["Enter", " "].includes(event.key) && (event.preventDefault(), go(number)));
        return dot;
    }), drawn("path", { id: "arrow", d: `M0 ${-reach / 3} L${reach / 7} 0 L${-reach / 7} 0 Z` }));
}

function showCamera(camera, number) {
    const [x, y] = fromAbove(camera.position), [endX, endY] = fromAbove(added(camera.position, columnOf(camera.rotation, 2), -1));
    const angle = Math.atan2(endX - x, y - endY) * 180 / Math.PI;
    byId("arrow").setAttribute("transform", `translate(${x} ${y}) rotate(${angle})`);
    byId("map").querySelectorAll(".view").forEach((dot, at) => dot.classList.toggle("near", at === number));
}

// ---- The legend ----

function showLegend(layer, most, total, number) {
    const told = COUNTED[layer.name] && VIEWS[number]?.result ? `; simulator: ${spaced(VIEWS[number].result[COUNTED[layer.name]])}` : "";
    byId("meaning").textContent = layer.text + (layer.channel < 0 ? "" : `; in all ${spaced(total)}${told}`);
    byId("scale").hidden = layer.channel < 0;
    byId("most").textContent = spaced(most);
}
