// The camera registers, as nerf/contract/registers.py makes them from the same numbers in float64.

const DATA = JSON.parse(document.getElementById("data").textContent);
const { about: ABOUT, constants: C, scene: SCENE, views: VIEWS } = DATA;

const columnOf = (rotation, column) => [rotation[column], rotation[3 + column], rotation[6 + column]];

// Registers of a camera, {position: [3], rotation: 9 numbers in rows; x right, y up, it looks along -z}, for a picture of
// width by height pixels. Null where one does not fit: the camera is too far away.
function registersOf(camera, width, height) {
    const whole = ABOUT.camera;
    const focal = [whole.focal[0] * (width / whole.width), whole.focal[1] * (height / whole.height)];
    const principal = [whole.principal[0] * (width / whole.width), whole.principal[1] * (height / whole.height)];
    const first = [(0.5 - principal[0]) / focal[0], (0.5 - principal[1]) / focal[1], 1];
    const unit = [SCENE.unit_x, SCENE.unit_y, SCENE.unit_z], low = [SCENE.low_x, SCENE.low_y, SCENE.low_z];
    const scale = unit.map((size) => SCENE.step / size);
    const toGrid = [0, 1, 2].map((column) =>
        columnOf(camera.rotation, column).map((value, axis) => (column ? -value : value) * scale[axis]));
    const values = {
        origin: camera.position.map((value, axis) => (value - low[axis]) / unit[axis]),
        direction: [0, 1, 2].map((axis) =>
            toGrid[0][axis] * first[0] + toGrid[1][axis] * first[1] + toGrid[2][axis] * first[2]),
        direction_column: toGrid[0].map((value) => value / focal[0]),
        direction_row: toGrid[1].map((value) => value / focal[1]),
        slope_x: first[0],
        slope_y: first[1],
        slope_column: 1 / focal[0],
        slope_row: 1 / focal[1],
        near: SCENE.near / SCENE.step,
        far: SCENE.far / SCENE.step,
        sample_limit: SCENE.sample_count - 1,
        view_scale: unit.map((size) => size / SCENE.step),
        termination: ABOUT.termination,
        shading_threshold: SCENE.shading_threshold,
    };
    const registers = {
        window_width: width,
        window_height: height,
        background: whole.background.reduce((word, value, channel) => word | value << 8 * channel, 0),
    };
    for (const { name, fraction, low: least, high } of DATA.registers) {
        if (!(name in values)) continue;
        const fixed = [values[name]].flat().map((value) => Math.floor(value * 2 ** fraction + 0.5));
        if (!fixed.every((value) => least <= value && value <= high)) return null;
        registers[name] = Array.isArray(values[name]) ? fixed : fixed[0];
    }
    return registers;
}
