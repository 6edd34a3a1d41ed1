// The integer model in a browser: a fragment is a ray of nerf.golden.frame, every function the one of its name in
// nerf/golden, bit for bit. An int is exactly 32 bits here and wraps around; what needs more is a Wide. The constants in
// capitals are those of nerf.contract, and SCENE_ and NETWORK_ of the scene image. QUICK is for moving: the network runs
// once a ray, at its heaviest sample, which stands for all; everything but the colour is exact.

uniform isampler2D starts, steps, directions;  // Of each ray: starts.w says whether it is live.
uniform isampler3D ranks;                      // Of each cube: that of its record, -1 where it is not live.
uniform usampler2D records;                    // As in the scene image, two texels a record.
uniform isampler2DArray planes;                // Four components a texel; layers as QUADS of density, then appearance.
uniform isampler2D lines;                      // Likewise, a row a layer.
uniform isampler2D weights;                    // A row an output: its requantisation, then 16 inputs a texel.
uniform isampler2D tables;                     // A row a table.

uniform int sampleLimit, termination, shadingThreshold, background;

layout(location = 0) out uvec4 pixel;   // Red, green, blue, opacity: format CHANNEL.
layout(location = 1) out uvec4 counts;  // Samples, cubes that they are in, index of the last one, shaded.

const int QUADS = NETWORK_COMPONENTS / 4;         // Of a pair's appearance.
const int DENSITY_QUADS = DENSITY_COMPONENTS / 4;
const int LAYERS = DENSITY_QUADS + QUADS;         // Of a pair in the textures.
const int FEATURE_ROWS = (NETWORK_FEATURES + 3) / 4 * 4;
const int ENCODED = NETWORK_FEATURES * (1 + 2 * NETWORK_FEATURE_BANDS) + 3 * (1 + 2 * NETWORK_VIEW_BANDS);
const int INPUTS = ENCODED + MODULATED * PLAIN;

// ---- Integers of more than 32 bits ----

struct Wide { int high; uint low; };

Wide product(int a, int b) {
    uint x = uint(a), y = uint(b);
    uint xLow = x & 0xFFFFu, xHigh = x >> 16, yLow = y & 0xFFFFu, yHigh = y >> 16;
    uint low = xLow * yLow, across = xLow * yHigh, down = xHigh * yLow;
    uint middle = (low >> 16) + (across & 0xFFFFu) + (down & 0xFFFFu);
    uint high = xHigh * yHigh + (across >> 16) + (down >> 16) + (middle >> 16);
    high -= (a < 0 ? y : 0u) + (b < 0 ? x : 0u);
    return Wide(int(high), middle << 16 | low & 0xFFFFu);
}

Wide plus(Wide a, Wide b) {
    uint low = a.low + b.low;
    return Wide(a.high + b.high + (low < a.low ? 1 : 0), low);
}

// Shift right by 1 or more, rounding down; what is beyond 32 bits becomes the largest or the smallest int.
int shifted(Wide value, int bits) {
    if (bits >= 32) return value.high >> (bits - 32);
    int high = value.high >> bits;
    int low = int(value.low >> bits | uint(value.high) << (32 - bits));
    return high == low >> 31 ? low : high < 0 ? -0x7FFFFFFF - 1 : 0x7FFFFFFF;
}

int roundShift(Wide value, int bits) {
    int high = bits > 32 ? 1 << (bits - 33) : 0;
    uint low = bits > 32 ? 0u : 1u << (bits - 1);
    return shifted(plus(value, Wide(high, low)), bits);
}

// ---- Samples: sample_generator.py ----

// The lattice keeps the step's bits: index times its lower ones is carried into the position. rtnerf.view.page makes
// sure that 32 bits hold it.
ivec3 samplePosition(ivec3 start, ivec3 step, int index) {
    return start + index * (step >> FINE_BITS) + (index * (step & (1 << FINE_BITS) - 1) >> FINE_BITS);
}

int maskCell(int position, int scale, int offset) {
    return shifted(product(position, scale), MASK_SCALE_FRACTION) + offset >> MASK_OFFSET_FRACTION;
}

uint recordWord(int rank, int word) {
    int texel = 2 * rank + word / 4;
    return texelFetch(records, ivec2(texel % RECORDS_WIDTH, texel / RECORDS_WIDTH), 0)[word % 4];
}

int recordBits(int rank, int first, int count) {
    uint bits = recordWord(rank, first / 32) >> first % 32;
    if (first % 32 + count > 32) bits |= recordWord(rank, first / 32 + 1) << (32 - first % 32);
    return int(bits & (1u << count) - 1u);
}

bool occupied(int rank, ivec3 at) {
    const int WINDOW_BITS = MASK_WINDOW * MASK_WINDOW * MASK_WINDOW;
    ivec3 cell;
    for (int axis = 0; axis < 3; ++axis) {
        int base = recordBits(rank, WINDOW_BITS + axis * MASK_CELL_BITS, MASK_CELL_BITS);
        cell[axis] = maskCell(at[axis], SCENE_MASK_SCALE[axis], SCENE_MASK_OFFSET[axis]) - base;
        if (cell[axis] < 0 || cell[axis] >= MASK_WINDOW) return false;
    }
    return recordBits(rank, (cell.z * MASK_WINDOW + cell.y) * MASK_WINDOW + cell.x, 1) == 1;
}

// ---- Factors: interpolator.py, four components at a time ----

ivec4 interpolatePlane(ivec4 p00, ivec4 p10, ivec4 p01, ivec4 p11, int wx, int wy) {
    const int SHIFT = 2 * FRACTION_BITS - INTERPOLATED_FRACTION;
    ivec4 low = (p00 << FRACTION_BITS) + (p10 - p00) * wx;
    ivec4 high = (p01 << FRACTION_BITS) + (p11 - p01) * wx;
    return (low << FRACTION_BITS) + (high - low) * wy + (1 << SHIFT >> 1) >> SHIFT;
}

ivec4 interpolateLine(ivec4 l0, ivec4 l1, int w) {
    const int SHIFT = FRACTION_BITS - INTERPOLATED_FRACTION;
    return (l0 << FRACTION_BITS) + (l1 - l0) * w + (1 << SHIFT >> 1) >> SHIFT;
}

// The plane's first and second axis, and the line's.
ivec3 along(int pair, ivec3 at) {
    return pair == 0 ? at.xyz : pair == 1 ? at.xzy : at.yzx;
}

// Products of four components, format PRODUCT.
ivec4 products(int pair, int quad, ivec3 at) {
    ivec3 place = along(pair, at);
    ivec3 cell = place >> POSITION_FRACTION;
    ivec3 w = place >> (POSITION_FRACTION - FRACTION_BITS) & (1 << FRACTION_BITS) - 1;
    ivec3 corner = ivec3(cell.xy, pair * LAYERS + quad);
    ivec4 plane = interpolatePlane(
        texelFetch(planes, corner, 0),
        texelFetch(planes, corner + ivec3(1, 0, 0), 0),
        texelFetch(planes, corner + ivec3(0, 1, 0), 0),
        texelFetch(planes, corner + ivec3(1, 1, 0), 0),
        w.x, w.y);
    ivec2 point = ivec2(cell.z, corner.z);
    return plane * interpolateLine(texelFetch(lines, point, 0), texelFetch(lines, point + ivec2(1, 0), 0), w.z);
}

// The four of a row of the products that the network takes.
ivec4 appearance(int row, ivec3 at) {
    return products(row / QUADS, DENSITY_QUADS + row % QUADS, at);
}

ivec4 rounded(ivec4 four) {
    return four + (1 << PRODUCT_FRACTION >> 1) >> PRODUCT_FRACTION;
}

int densitySum(ivec3 at) {
    ivec4 total = ivec4(0);
    for (int pair = 0; pair < 3; ++pair)
        for (int quad = 0; quad < DENSITY_QUADS; ++quad) total += products(pair, quad, at);
    return total.x + total.y + total.z + total.w;
}

// ---- Opacity: density.py, compositor.py ----

int table(int row, int index) {
    return texelFetch(tables, ivec2(index, row), 0).x;
}

int alpha(int total) {
    int at = shifted(product(total, SCENE_DENSITY_MULTIPLIER), DENSITY_MULTIPLIER_FRACTION) + SCENE_DENSITY_OFFSET;
    at = clamp(at, 0, (ALPHA_ENTRIES << FRACTION_BITS) - 1);
    int rise = table(ALPHA_DIFFERENCE, at >> FRACTION_BITS) * (at & (1 << FRACTION_BITS) - 1);
    return min(table(ALPHA, at >> FRACTION_BITS) + (rise + (1 << FRACTION_BITS >> 1) >> FRACTION_BITS), 1 << UNIT);
}

// ---- The network: mlp_engine.py ----

ivec4 values[(NETWORK_WIDEST + 15) / 16 * 4];  // Inputs of the next layer.

int requantised(int row, ivec4 parts) {
    ivec4 entry = texelFetch(weights, ivec2(0, row), 0);
    return roundShift(product(parts.x + parts.y + parts.z + parts.w + entry.x, entry.y), entry.z);
}

// Four outputs of a layer, from a row of the weights on: each is below 2**31 before it is requantised, whatever the
// activations, as nerf.encode limits the bias.
ivec4 outputs(int row, int inputs) {
    ivec4 a = ivec4(0), b = ivec4(0), c = ivec4(0), d = ivec4(0);
    for (int block = 0; block < (inputs + 15) / 16; ++block) {
        ivec4 wa = texelFetch(weights, ivec2(block + 1, row), 0), wb = texelFetch(weights, ivec2(block + 1, row + 1), 0);
        ivec4 wc = texelFetch(weights, ivec2(block + 1, row + 2), 0), wd = texelFetch(weights, ivec2(block + 1, row + 3), 0);
        for (int part = 0; part < 4; ++part) {
            ivec4 value = values[4 * block + part];
            int up = 24 - 8 * part;
            a += (wa << up >> 24) * value;
            b += (wb << up >> 24) * value;
            c += (wc << up >> 24) * value;
            d += (wd << up >> 24) * value;
        }
    }
    return ivec4(requantised(row, a), requantised(row + 1, b), requantised(row + 2, c), requantised(row + 3, d));
}

void put(int index, int value) {
    values[index >> 2][index & 3] = value;
}

// Sines of a value and of its double go to `first` and behind it, the cosines `apart` further on.
void encode(int value, int first, int bands, int apart) {
    int turn = value * SCENE_PHASE_MULTIPLIER;  // Only its lower bits count: the table is periodic.
    for (int band = 0; band < bands; ++band) {
        int phase = turn >> (PHASE_SHIFT - band);
        put(first + band, table(SINE, phase & SINE_ENTRIES - 1) >> SCENE_SINE_SHIFT);
        put(first + band + apart, table(SINE, phase + SINE_ENTRIES / 4 & SINE_ENTRIES - 1) >> SCENE_SINE_SHIFT);
    }
}

void hiddenLayer(int row, int inputs) {
    ivec4 found[NETWORK_HIDDEN / 4];
    for (int quad = 0; quad < NETWORK_HIDDEN / 4; ++quad)
        found[quad] = clamp(outputs(row + 4 * quad, inputs), 0, ACTIVATION_HIGH);
    for (int quad = 0; quad < NETWORK_HIDDEN / 4; ++quad) values[quad] = found[quad];
}

// The colour of the products that are in `values`, COLOUR_BITS fraction bits.
ivec3 shade(ivec3 direction) {
    int features[FEATURE_ROWS];
    for (int row = 0; row < FEATURE_ROWS; row += 4) {
        ivec4 four = clamp(outputs(row, 3 * NETWORK_COMPONENTS), ACTIVATION_LOW, ACTIVATION_HIGH);
        for (int lane = 0; lane < 4; ++lane) features[row + lane] = four[lane];
    }
    for (int quad = 0; quad < (INPUTS + 15) / 16 * 4; ++quad) values[quad] = ivec4(0);
    const int SINES = NETWORK_FEATURES + 3, OF_FEATURES = NETWORK_FEATURES * NETWORK_FEATURE_BANDS;
    for (int channel = 0; channel < NETWORK_FEATURES; ++channel) {
        put(channel, features[channel]);
        int first = SINES + channel * NETWORK_FEATURE_BANDS;
        encode(features[channel], first, NETWORK_FEATURE_BANDS, OF_FEATURES);
    }
    for (int axis = 0; axis < 3; ++axis) {
        int value = direction[axis] >> SCENE_SINE_SHIFT;
        put(NETWORK_FEATURES + axis, value);
        int first = SINES + 2 * OF_FEATURES + axis * NETWORK_VIEW_BANDS;
        encode(value, first, NETWORK_VIEW_BANDS, 3 * NETWORK_VIEW_BANDS);
    }
#if PLAIN
    ivec4 factors = ivec4(1 << SINE_FRACTION, direction);
    for (int channel = 0; channel < MODULATED; ++channel) {
        ivec2 pair = MONOMIALS[channel % (MODULATED / COLOURS)];
        int monomial = factors[pair.x] * factors[pair.y] >> SINE_FRACTION;
        int modulated = features[channel] * monomial + (1 << SINE_FRACTION >> 1) >> SINE_FRACTION;
        put(ENCODED + channel, clamp(modulated, ACTIVATION_LOW, ACTIVATION_HIGH));
    }
#endif
    hiddenLayer(FEATURE_ROWS, INPUTS);
    hiddenLayer(FEATURE_ROWS + NETWORK_HIDDEN, NETWORK_HIDDEN);
    ivec3 logits = outputs(FEATURE_ROWS + 2 * NETWORK_HIDDEN, NETWORK_HIDDEN).xyz;
#if PLAIN
    return clamp(logits, PLAIN_COLOUR_LOW, PLAIN_COLOUR_HIGH);
#else
    logits = clamp(logits, -SIGMOID_ENTRIES / 2, SIGMOID_ENTRIES / 2 - 1) + SIGMOID_ENTRIES / 2;
    return ivec3(table(SIGMOID, logits.x), table(SIGMOID, logits.y), table(SIGMOID, logits.z));
#endif
}

// ---- Deferred shading: product_buffer.py ----

#if DEFERRED && !QUICK
ivec4 sums[3 * QUADS];

ivec4 weightedProduct(int weight, ivec4 four) {
    for (int lane = 0; lane < 4; ++lane) four[lane] = roundShift(product(weight, four[lane]), UNIT + DROPPED_BITS);
    return four;
}

int meanProduct(int total, int reciprocal, int length) {
    Wide scaled = product(total, reciprocal << MEAN_SHIFT);
    int mean = length > 1 ? roundShift(scaled, length - 1) : shifted(plus(scaled, scaled), 1);
    return clamp(mean, PRODUCT_LOW, PRODUCT_HIGH);
}

// Put the mean products of a weight into `sums`.
void meanProducts(int weight) {
    int length = 0;
    while (weight >> length != 0) ++length;
    int mantissa = weight << (UNIT + 1 - length) >> (UNIT - RECIPROCAL_BITS);
    int reciprocal = table(RECIPROCAL, mantissa - (1 << RECIPROCAL_BITS));
    for (int row = 0; row < 3 * QUADS; ++row)
        for (int lane = 0; lane < 4; ++lane) sums[row][lane] = meanProduct(sums[row][lane], reciprocal, length);
}
#endif

// ---- The frame: frame.py, tile_buffer.py ----

// Weight times colour of the products in `values`.
ivec3 weightedColour(int weight, ivec3 direction) {
    ivec3 colour = shade(direction);
    for (int channel = 0; channel < 3; ++channel)
        colour[channel] = roundShift(product(weight, colour[channel]), COLOUR_BITS);
    return colour;
}

uvec4 outputPixel(ivec3 colour, int transmittance) {
    uvec4 word;
    for (int channel = 0; channel < 3; ++channel) {
        int behind = (background >> 8 * channel & 0xFF) * BACKGROUND_UNIT;
        Wide value = plus(product(colour[channel], CHANNEL_HIGH), product(transmittance, behind));
        word[channel] = uint(clamp(roundShift(value, UNIT), 0, CHANNEL_HIGH));
    }
    word.a = uint(min(roundShift(product((1 << UNIT) - transmittance, CHANNEL_HIGH), UNIT), CHANNEL_HIGH));
    return word;
}

void main() {
    ivec2 here = ivec2(gl_FragCoord.xy);
    ivec4 start = texelFetch(starts, here, 0);
    ivec3 step = texelFetch(steps, here, 0).xyz, direction = texelFetch(directions, here, 0).xyz;
    ivec3 top = SCENE_GRID - 1 << POSITION_FRACTION, colour = ivec3(0);
    int index = 0, limit = start.w == 0 ? 0 : sampleLimit, transmittance = 1 << UNIT, rank = -1, summed = 0;
    bool entered = false;
    counts = uvec4(0u);
#if QUICK
    int heaviest = 0;
    ivec3 place = ivec3(0);
#elif DEFERRED
    for (int row = 0; row < 3 * QUADS; ++row) sums[row] = ivec4(0);
#endif
    // Neighbours go to their next visible sample, then shade it together.
    while (index < limit) {
        ivec3 at;
        int weight = 0;
        for (; index < limit && weight <= shadingThreshold; ++index) {
            at = samplePosition(start.xyz, step, index);
            if (any(lessThan(at, ivec3(0))) || any(greaterThan(at, top))) {
                if (entered) limit = 0;
                continue;
            }
            entered = true;
            int cube = texelFetch(ranks, at >> POSITION_FRACTION + CUBE_BITS, 0).x;
            if (cube < 0 || !occupied(cube, at)) continue;
            weight = roundShift(product(transmittance, alpha(densitySum(at))), UNIT);
            transmittance -= weight;
            counts += uvec4(1u, cube == rank ? 0u : 1u, 0u, 0u);
            counts.z = uint(index);
            rank = cube;
            if (transmittance < termination) limit = 0;
        }
        if (weight <= shadingThreshold) break;
#if QUICK
        if (weight > heaviest) {
            heaviest = weight;
            place = at;
        }
        counts.w = DEFERRED == 1 ? 1u : counts.w + 1u;
        summed += weight;
#elif DEFERRED
        for (int row = 0; row < 3 * QUADS; ++row) sums[row] += weightedProduct(weight, appearance(row, at));
        counts.w = 1u;
        summed += weight;
#else
        for (int row = 0; row < 3 * QUADS; ++row) values[row] = rounded(appearance(row, at));
        colour += weightedColour(weight, direction);
        counts.w += 1u;
#endif
    }
#if QUICK
    for (int row = 0; row < 3 * QUADS; ++row) values[row] = rounded(appearance(row, place));
#elif DEFERRED
    if (summed > 0) meanProducts(summed);
    for (int row = 0; row < 3 * QUADS; ++row) values[row] = rounded(sums[row]);
#endif
#if QUICK || DEFERRED
    if (summed > 0) colour = weightedColour(summed, direction);
#endif
    pixel = outputPixel(colour, transmittance);
}
