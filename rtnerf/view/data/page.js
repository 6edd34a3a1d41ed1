// The page: draws when something changes, coarsely while it moves and at full size when it rests.

const MOST_WIDTH = 1600, LEAST_WIDTH = 16;
const FRAME_MS = 45, PART_MS = 30;  // Of a frame while it moves; of a part of the one at full size.
const TAP_SECONDS = 0.05;  // What a key does at once, before it does more while it is held.
const QUICK_BELOW = 64, EXACT_ABOVE = 256;  // Widths of moving frames where the network runs once a ray, and where not.
const KEYS = {
    ArrowLeft: ["swing", -1, 0], ArrowRight: ["swing", 1, 0], ArrowUp: ["swing", 0, -1], ArrowDown: ["swing", 0, 1],
    a: ["move", -1, 0, 0], d: ["move", 1, 0, 0], q: ["move", 0, -1, 0], e: ["move", 0, 1, 0],
    w: ["move", 0, 0, 1], s: ["move", 0, 0, -1], "+": ["zoom", -1], "=": ["zoom", -1], "-": ["zoom", 1],
};

const state = { camera: CAMERAS[0], layer: LAYERS[0], width: null, coarse: 32, quick: true, part: 256 };
const held = new Set();
let device, tiles;
let shown = null, finer = null;  // The frame on the screen, and one at full size that is being drawn.
let moving = true, stale = true, running = false;  // The camera has moved; the screen does not show what it should.
let askFor = () => {};  // Called with the number of a view on the screen that has no result yet.

const heightOf = (width) => Math.max(1, Math.round(width * ABOUT.camera.height / ABOUT.camera.width));
const frameOf = (width) => device.frame(registersOf(state.camera, width, heightOf(width)));
const stands = () => CAMERAS.findIndex((each) => same(each, state.camera));
const isWhole = () => shown?.exact && shown.size[0] === state.width && !finer;

// ---- Drawing ----

// Draw until nothing is left to be done.
async function run() {
    if (running) return;
    running = true;
    let before = performance.now();
    while (held.size || moving || stale || !isWhole()) {
        const now = await new Promise(requestAnimationFrame);
        for (const key of held) steer(key, Math.min(Math.max(now - before, 0), 100) / 1000);
        before = now;
        if (moving) await drawCoarse();
        else if (!held.size && !isWhole()) await refine();
        if (stale) await present();
    }
    running = false;
    history.replaceState(null, "", fragmentOf(state.camera, state.layer.name, state.width));
}

const wake = () => run().catch(fail);

// Take a new camera, unless it is so far away that its registers do not fit.
function go(camera) {
    if (!registersOf(camera, state.width, heightOf(state.width))) return;
    state.camera = camera;
    if (state.layer.channel === 4 && stands() < 0) setLayer(LAYERS[0]);
    moving = true;
    wake();
}

function keep(frame) {
    if (shown) device.drop(shown);
    shown = frame;
    stale = true;
}

function forget() {
    if (finer) device.drop(finer);
    finer = null;
}

// Draw a whole frame, of as many pixels as there is time for.
async function drawCoarse() {
    moving = false;
    forget();
    const { quick } = state, width = Math.min(Math.round(state.coarse), state.width), started = performance.now();
    const frame = frameOf(width);
    await device.draw(frame, width * frame.size[1], quick ? device.quick : device.exact);
    keep(frame);
    const took = performance.now() - started;
    byId("speed").textContent =
        `${frame.size.join("x")} pixels in ${took.toFixed(0)} ms${quick ? ", the network once a ray" : ""}`;
    // Work goes with the square of the width.
    state.coarse = width * Math.min(Math.max(Math.sqrt(FRAME_MS / took), 0.6), 1.5);
    if (quick ? state.coarse > EXACT_ABOVE : state.coarse < QUICK_BELOW) state.quick = !quick;
    else state.coarse = Math.min(Math.max(state.coarse, LEAST_WIDTH), MOST_WIDTH);
    if (quick && !state.quick) state.coarse = QUICK_BELOW;
}

// Draw a part of the frame at full size; it is shown when it is whole.
async function refine() {
    if (finer && finer.size[0] !== state.width) forget();
    finer ??= frameOf(state.width);
    const started = performance.now(), [width, height] = finer.size;
    await device.draw(finer, state.part);
    const better = state.part * Math.min(PART_MS / (performance.now() - started), 2);
    state.part = Math.min(Math.max(better, 64), width * height);
    const share = (finer.y * width + finer.x * finer.rows) / (width * height);
    byId("speed").textContent = `${finer.size.join("x")} pixels, ${Math.floor(100 * share)} %`;
    if (finer.y < height) return;
    keep(finer);
    finer = null;
}

// The tiles of a simulated view: a texture of their cycles, and how many there are across and down.
function tilesOf(number) {
    const { width, height } = ABOUT.camera, whole = { size: Math.max(width, height), columns: 1, cycles: [0] };
    const { size, columns, cycles } = VIEWS[number].tiles ?? whole;
    const texture = device.texture(null, "R32UI", [columns, cycles.length / columns], new Uint32Array(cycles));
    return { number, texture, tiles: [width / size, height / size], cycles };
}

async function present() {
    stale = false;
    const number = nearestView(state.camera), { channel } = state.layer;
    if (tiles?.number !== number) {
        if (tiles) device.gl.deleteTexture(tiles.texture.texture);
        tiles = tilesOf(number);
        showResult(number);
    }
    if (stands() >= 0 && !VIEWS[stands()].result) askFor(stands());
    let values = [];
    if (channel === 4) values = tiles.cycles;
    else if (channel >= 0) values = (await device.read(shown, "counts")).filter((_, at) => at % 4 === channel);
    const most = values.reduce((a, b) => Math.max(a, b), 0), total = values.reduce((a, b) => a + b, 0);
    const canvas = device.gl.canvas;
    const size = [canvas.clientWidth, canvas.clientHeight].map((pixels) => Math.max(1, Math.round(pixels * devicePixelRatio)));
    if (size[0] !== canvas.width || size[1] !== canvas.height) [canvas.width, canvas.height] = size;
    device.show(shown, channel, most, tiles);
    showCamera(state.camera, number);
    showLegend(state.layer, most, total, stands() >= 0 && shown.size[0] === ABOUT.camera.width ? stands() : null);
}

function redraw() {
    stale = true;
    wake();
}

// ---- What the user does ----

function setLayer(layer) {
    state.layer = layer;
    document.querySelectorAll("#layers button").forEach((button) =>
        button.setAttribute("aria-pressed", String(button.textContent === layer.name)));
    if (layer.channel === 4 && stands() < 0) go(CAMERAS[nearestView(state.camera)]);
    redraw();
}

function setWidth(width) {
    state.width = width;
    const choice = byId("width");
    if (![...choice.options].some(({ value }) => Number(value) === width)) choice.append(new Option(`${width}x${heightOf(width)}`, width));
    choice.value = width;
}

// Take what a fragment says.
function take({ camera, layer, width }) {
    if (width) setWidth(width);
    if (camera) go(camera);
    if (layer) setLayer(layer);
    redraw();
}

// Do what a key does in so many seconds.
function steer(key, seconds) {
    const [what, ...amounts] = KEYS[key], [x, y, z] = amounts.map((amount) => amount * seconds);
    if (what === "swing") go(swung(state.camera, x, y, ABOUT.centre));
    else if (what === "move") go(moved(state.camera, 0.5 * x, 0.5 * y, 0.5 * z));
    else go(zoomed(state.camera, Math.exp(x)));
}

// One pointer turns round the scene, or with Shift or the right button where the camera stands; two zoom and turn.
function follow(canvas) {
    const pointers = new Map();
    const spread = () => {
        const [a, b] = [...pointers.values()];
        return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    };
    canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointermove", (event) => {
        const before = pointers.get(event.pointerId);
        if (!before) return;
        const apart = pointers.size === 2 ? spread() : 0;
        pointers.set(event.pointerId, event);
        const scale = 3 / canvas.clientWidth / pointers.size;
        const across = (before.clientX - event.clientX) * scale, down = (before.clientY - event.clientY) * scale;
        const looks = event.shiftKey || event.buttons === 2;
        let camera = swung(state.camera, looks ? -across / 2 : across, looks ? -down / 2 : down, looks ? state.camera.position : ABOUT.centre);
        if (apart) camera = zoomed(camera, apart / Math.max(spread(), 1));
        go(camera);
    });
    for (const end of ["pointerup", "pointercancel"])
        canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
        event.preventDefault();
        go(zoomed(state.camera, Math.exp(Math.sign(event.deltaY) * 0.08)));
    }, { passive: false });
    const keyOf = ({ key }) => key.length === 1 ? key.toLowerCase() : key;
    canvas.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (keyOf(event) in KEYS) {
            event.preventDefault();
            if (!event.repeat) steer(keyOf(event), TAP_SECONDS);
            held.add(keyOf(event));
        } else if (LAYERS[event.key - 1]) setLayer(LAYERS[event.key - 1]);
        else if (event.key === "0") go(CAMERAS[nearestView(state.camera)]);
    });
    canvas.addEventListener("keyup", (event) => held.delete(keyOf(event)));
    canvas.addEventListener("blur", () => held.clear());
}

// ---- The start ----

const asText = (values) => {
    const bytes = new Uint8Array(Uint16Array.from(values).buffer);
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};

// Write a whole frame into the page, for tests: registers, pixels and counts, uint16 in base64.
async function tell() {
    const frame = frameOf(state.width), found = { registers: frame.registers };
    await device.draw(frame, frame.size[0] * frame.size[1]);
    for (const name of ["pixels", "counts"]) found[name] = asText(await device.read(frame, name));
    document.body.append(element("pre", { id: "selftest", hidden: "" }, JSON.stringify(found)));
}

function fail(error) {
    byId("problem").hidden = false;
    byId("problem").textContent = `This page cannot draw: ${error.message}.`;
    throw error;
}

async function main() {
    const { width, height } = ABOUT.camera, canvas = byId("canvas");
    canvas.style.aspectRatio = `${width} / ${height}`;
    [1, 2, 4].map((times) => times * width).filter((each) => each <= MOST_WIDTH).forEach(setWidth);
    setWidth(width);
    for (const layer of LAYERS) {
        const button = element("button", { type: "button", "aria-pressed": "false" }, layer.name);
        button.addEventListener("click", () => setLayer(layer));
        byId("layers").append(button);
    }
    byId("ramp").style.background = `linear-gradient(90deg, ${RAMP.map((colour) => `rgb(${colour})`)})`;
    const showViews = () => showMap((number) => go(CAMERAS[number]));
    showViews();
    const says = fragmentSays(location.hash);
    device = new Device(canvas, await unpacked());
    if (new URLSearchParams(location.hash.slice(1)).has("selftest")) {
        setWidth(says.width ?? state.width);
        state.camera = says.camera ?? state.camera;
        await tell();
    }
    follow(canvas);
    if (ABOUT.live) askFor = startLive(canvas, () => state.camera, () => {
        showViews();
        if (tiles) device.gl.deleteTexture(tiles.texture.texture);
        tiles = null;
        redraw();
    });
    byId("width").addEventListener("change", (event) => {
        setWidth(Number(event.target.value));
        wake();
    });
    canvas.addEventListener("webglcontextlost", () => fail(new Error("the graphics device has been lost; load the page again")));
    addEventListener("hashchange", () => take(fragmentSays(location.hash)));
    addEventListener("resize", redraw);
    take({ ...says, layer: says.layer ?? LAYERS[0] });
}

main().catch(fail);
