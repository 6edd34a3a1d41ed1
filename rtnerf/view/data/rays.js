// Rays of a frame, as nerf/golden/ray_setup.py makes them. A number holds 53 bits exactly; a product of more goes through
// shiftedProduct.

// floor(a * b / 2**bits) for bits of at least 20, |a| below 2**48, |b| up to 2**32 and a result below 2**53 >> 20.
function shiftedProduct(a, b, bits) {
    const high = Math.floor(a / 2 ** 20), low = a - high * 2 ** 20;
    return Math.floor((high * b + Math.floor(low * b / 2 ** 20)) / 2 ** (bits - 20));
}

// Starts (and whether the ray is live), steps and directions of all pixels: Int32Array, four values a pixel.
function setUp(view) {
    const width = view.window_width, height = view.window_height;
    const starts = new Int32Array(4 * width * height), steps = new Int32Array(starts.length);
    const directions = new Int32Array(starts.length);
    const toSlope = 2 ** (C.DIRECTION_FRACTION - C.SLOPE_FRACTION), one = 2 ** (2 * C.SLOPE_FRACTION);
    const dividend = C.RECIPROCAL_DIVIDEND;
    const top = SCENE.grid.map((size) => (size - 1) * 2 ** C.ORIGIN_FRACTION);
    const toView = C.STEP_FRACTION + C.VIEW_SCALE_FRACTION - C.SINE_FRACTION;
    for (let y = 0, at = 0; y < height; ++y) {
        const slopeY = Math.floor((view.slope_y + y * view.slope_row) / toSlope);
        for (let x = 0; x < width; ++x, at += 4) {
            const slopeX = Math.floor((view.slope_x + x * view.slope_column) / toSlope);
            const square = one + slopeX * slopeX + slopeY * slopeY;
            const inverseNorm = Math.floor(dividend / Math.min(Math.floor(Math.sqrt(square)), C.NORM_HIGH));
            let entry = -Infinity, leave = Infinity;
            for (let axis = 0; axis < 3; ++axis) {
                const raw = view.direction[axis] + x * view.direction_column[axis] + y * view.direction_row[axis];
                const step = shiftedProduct(raw, inverseNorm, C.DIRECTION_FRACTION);
                const origin = view.origin[axis], ahead = step >= 0;
                const inverse = step === 0 ? C.INVERSE_HIGH
                    : Math.min(Math.floor(dividend / Math.abs(step)), C.INVERSE_HIGH);
                const near = ahead ? -origin : origin - top[axis], far = ahead ? top[axis] - origin : origin;
                entry = Math.max(entry, shiftedProduct(near, inverse, C.INVERSE_FRACTION));
                leave = Math.min(leave, shiftedProduct(far, inverse, C.INVERSE_FRACTION));
                steps[at + axis] = step;
                directions[at + axis] = shiftedProduct(step, view.view_scale[axis], toView);
            }
            const distance = Math.min(Math.max(entry, view.near), view.far);
            let live = leave + 2 ** C.DISTANCE_FRACTION >= distance;
            for (let axis = 0; axis < 3; ++axis) {
                const start = view.origin[axis] + shiftedProduct(distance, steps[at + axis], C.STEP_FRACTION);
                live &&= C.POSITION_LOW <= start && start <= C.POSITION_HIGH;
                starts[at + axis] = start;
            }
            starts[at + 3] = live ? 1 : 0;
        }
    }
    return { starts, steps, directions };
}
