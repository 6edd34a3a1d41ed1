// The camera: {position, rotation} as registersOf takes it. It turns, moves, and is written into the URL's fragment.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const added = (a, b, times) => a.map((value, axis) => value + times * b[axis]);
const applied = (m, v) => [0, 1, 2].map((row) => dot(m.slice(3 * row, 3 * row + 3), v));

// Camera of a pose, 4 x 4 numbers in rows.
function cameraOf(pose) {
    return { position: [0, 1, 2].map((row) => pose[row][3]), rotation: [0, 1, 2].flatMap((row) => pose[row].slice(0, 3)) };
}

// Rotation about a unit vector by an angle (Rodrigues).
function turn([x, y, z], angle) {
    const c = Math.cos(angle), s = Math.sin(angle), d = 1 - c;
    return [
        c + x * x * d, x * y * d - z * s, x * z * d + y * s,
        y * x * d + z * s, c + y * y * d, y * z * d - x * s,
        z * x * d - y * s, z * y * d + x * s, c + z * z * d,
    ];
}

// The camera carried round a point, or turned where it stands when that is its position.
function turned(camera, axis, angle, point) {
    const rotation = turn(axis, angle);
    const columns = [0, 1, 2].map((column) => applied(rotation, columnOf(camera.rotation, column)));
    return {
        position: added(point, applied(rotation, added(camera.position, point, -1)), 1),
        rotation: [0, 1, 2].flatMap((row) => columns.map((column) => column[row])),
    };
}

// The camera turned about the upright axis and about its own horizontal one, which does not go over the poles.
function swung(camera, across, down, point) {
    const level = turned(camera, ABOUT.up, across, point);
    const tilted = turned(level, columnOf(level.rotation, 0), down, point);
    const steep = Math.abs(dot(columnOf(tilted.rotation, 2), ABOUT.up));
    return steep > 0.99 && steep > Math.abs(dot(columnOf(level.rotation, 2), ABOUT.up)) ? level : tilted;
}

// The camera moved to the right, upright and ahead, in its distances from the scene's centre.
function moved(camera, right, up, ahead) {
    const scale = Math.max(Math.hypot(...added(camera.position, ABOUT.centre, -1)), 0.1);
    let position = added(camera.position, columnOf(camera.rotation, 0), right * scale);
    position = added(position, ABOUT.up, up * scale);
    return { ...camera, position: added(position, columnOf(camera.rotation, 2), -ahead * scale) };
}

// The camera at `times` its distance from the scene's centre.
function zoomed(camera, times) {
    return { ...camera, position: added(ABOUT.centre, added(camera.position, ABOUT.centre, -1), times) };
}

const same = (a, b) =>
    a.position.every((value, axis) => value === b.position[axis]) && a.rotation.every((value, at) => value === b.rotation[at]);

const CAMERAS = VIEWS.map(({ c2w }) => cameraOf(c2w));

// Number of the simulated view whose camera stands nearest.
function nearestView(camera) {
    const distances = CAMERAS.map(({ position }) => Math.hypot(...added(position, camera.position, -1)));
    return distances.indexOf(Math.min(...distances));
}

// ---- In the URL ----

// The fragment that shows a camera: a simulated view by its number, any other by position and rotation.
function fragmentOf(camera, layer, width) {
    const view = CAMERAS.findIndex((each) => same(each, camera));
    const numbers = [
        ...camera.position.map((value) => Number(value.toPrecision(7))),
        ...camera.rotation.map((value) => Number(value.toFixed(5))),
    ];
    return `#${view >= 0 ? `view=${view}` : `camera=${numbers}`}&layer=${layer}&size=${width}`;
}

// What a fragment says: {camera, layer, width}, each null where it says nothing or nothing that can be.
function fragmentSays(text) {
    const parts = new URLSearchParams(text.slice(1));
    const numbers = (parts.get("camera") ?? "").split(",").map(Number), width = Number(parts.get("size"));
    let camera = CAMERAS[parts.get("view")] ?? null;
    if (!camera && numbers.length === 12 && numbers.every(Number.isFinite)) {
        // Rounded, the columns are not quite a rotation.
        const right = unit(numbers.filter((_, at) => at > 2 && at % 3 === 0));
        const near = numbers.filter((_, at) => at > 2 && at % 3 === 2);
        const back = unit(added(near, right, -dot(near, right)));
        const up = cross(back, right);
        if ([...right, ...back].every(Number.isFinite))
            camera = { position: numbers.slice(0, 3), rotation: [0, 1, 2].flatMap((row) => [right[row], up[row], back[row]]) };
    }
    return {
        camera,
        layer: LAYERS.find(({ name }) => name === parts.get("layer")) ?? null,
        width: Number.isInteger(width) && 1 <= width && width <= MOST_WIDTH ? width : null,
    };
}

const unit = (v) => v.map((value) => value / Math.hypot(...v));
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
