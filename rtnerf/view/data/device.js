// WebGL2: textures of integers, the two shaders, frames.

const VERTEX = `
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;
const FIXED = ["ranks", "records", "planes", "lines", "weights", "tables"];
const RAYS = ["starts", "steps", "directions"];

// The embedded textures: {name: typed array}.
async function unpacked() {
    const packed = Uint8Array.from(atob(document.getElementById("textures").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const bytes = await new Response(stream).arrayBuffer();
    let offset = 0;
    return Object.fromEntries(Object.entries(DATA.textures).map(([name, { format, bytes: length }]) => {
        const kind = format === "RGBA8I" ? Int8Array : format === "RGBA32UI" ? Uint32Array : Int32Array;
        const part = new kind(bytes.slice(offset, offset + length));
        offset += length;
        return [name, part];
    }));
}

class Device {
    constructor(canvas, arrays) {
        const gl = this.gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
        if (!gl) throw new Error("this browser has no WebGL2");
        this.formats = {
            RGBA8I: [gl.RGBA_INTEGER, gl.BYTE],
            RGBA32I: [gl.RGBA_INTEGER, gl.INT],
            RGBA32UI: [gl.RGBA_INTEGER, gl.UNSIGNED_INT],
            R32I: [gl.RED_INTEGER, gl.INT],
            R32UI: [gl.RED_INTEGER, gl.UNSIGNED_INT],
        };
        gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
        this.fixed = Object.fromEntries(FIXED.map((name) => {
            const { format, size } = DATA.textures[name];
            return [name, this.texture(name === "ranks" ? gl.TEXTURE_3D : null, format, size, arrays[name])];
        }));
        [this.exact, this.quick] = [0, 1].map((quick) => this.program("march.glsl", [...FIXED, ...RAYS], quick));
        this.showing = this.program("show.glsl", ["pixels", "counts", "cycles"]);
        gl.bindVertexArray(gl.createVertexArray());
    }

    // Integers of a size; of three dimensions they are layers unless another kind is asked for.
    texture(kind, format, size, array) {
        const gl = this.gl, texture = gl.createTexture();
        const target = kind ?? (size.length === 3 ? gl.TEXTURE_2D_ARRAY : gl.TEXTURE_2D);
        gl.bindTexture(target, texture);
        const image = size.length === 3 ? gl.texImage3D : gl.texImage2D;
        image.call(gl, target, 0, gl[format], ...size, 0, ...this.formats[format], array);
        for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, filter, gl.NEAREST);
        return { texture, target };
    }

    program(name, samplers, quick = 0) {
        const gl = this.gl, program = gl.createProgram(), fragment = document.getElementById(name).textContent;
        for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
            const shader = gl.createShader(kind);
            gl.shaderSource(shader, `#version 300 es\n#define QUICK ${quick}\n${source}`);
            gl.compileShader(shader);
            gl.attachShader(program, shader);
            if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost())
                throw new Error(`${name}: ${gl.getShaderInfoLog(shader)}`);
        }
        gl.linkProgram(program);
        if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`${name}: ${gl.getProgramInfoLog(program)}`);
        gl.useProgram(program);
        samplers.forEach((sampler, unit) => gl.uniform1i(gl.getUniformLocation(program, sampler), unit));
        const place = (uniform) => gl.getUniformLocation(program, uniform);
        return { program, samplers, place };
    }

    use({ program, samplers }, textures) {
        const gl = this.gl;
        gl.useProgram(program);
        samplers.forEach((sampler, unit) => {
            gl.activeTexture(gl.TEXTURE0 + unit);
            gl.bindTexture(textures[sampler].target, textures[sampler].texture);
        });
    }

    // A frame to be drawn from registers, before its first pixel.
    frame(registers) {
        const gl = this.gl, size = [registers.window_width, registers.window_height];
        const rays = setUp(registers);
        const frame = { registers, size, x: 0, y: 0, buffer: gl.createFramebuffer() };
        for (const name of RAYS) frame[name] = this.texture(null, "RGBA32I", size, rays[name]);
        gl.bindFramebuffer(gl.FRAMEBUFFER, frame.buffer);
        ["pixels", "counts"].forEach((name, number) => {
            frame[name] = this.texture(null, "RGBA32UI", size, null);
            const { target, texture } = frame[name];
            gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0 + number, target, texture, 0);
        });
        gl.drawBuffers([gl.COLOR_ATTACHMENT0, gl.COLOR_ATTACHMENT1]);
        return frame;
    }

    // Draw about so many more pixels of a frame, in bands of rows from left to right. Resolves when they are drawn.
    async draw(frame, pixels, program = this.exact) {
        const gl = this.gl, { registers, size: [width, height] } = frame;
        frame.exact = program === this.exact;
        if (frame.x === 0) frame.rows = Math.min(Math.max(Math.floor(pixels / width), 8), height - frame.y);
        const columns = Math.min(Math.max(Math.floor(pixels / frame.rows), 8), width - frame.x);
        gl.bindFramebuffer(gl.FRAMEBUFFER, frame.buffer);
        this.use(program, { ...this.fixed, ...frame });
        gl.uniform1i(program.place("sampleLimit"), registers.sample_limit);
        gl.uniform1i(program.place("termination"), registers.termination);
        gl.uniform1i(program.place("shadingThreshold"), registers.shading_threshold);
        gl.uniform1i(program.place("background"), registers.background);
        gl.viewport(0, 0, width, height);
        gl.enable(gl.SCISSOR_TEST);
        gl.scissor(frame.x, frame.y, columns, frame.rows);
        gl.drawArrays(gl.TRIANGLES, 0, 3);
        gl.disable(gl.SCISSOR_TEST);
        [frame.x, frame.y] = frame.x + columns < width ? [frame.x + columns, frame.y] : [0, frame.y + frame.rows];
        await this.done();
    }

    // Resolves when the device has done all that it was given.
    async done() {
        const gl = this.gl, fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
        gl.flush();
        while (gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) await new Promise((later) => setTimeout(later, 1));
        gl.deleteSync(fence);
    }

    // The pixels or the counts of a frame: Uint32Array, four values a pixel, row by row from the top.
    async read(frame, name) {
        const gl = this.gl, [width, height] = frame.size, values = new Uint32Array(4 * width * height);
        const buffer = gl.createBuffer();
        gl.bindFramebuffer(gl.FRAMEBUFFER, frame.buffer);
        gl.readBuffer(name === "pixels" ? gl.COLOR_ATTACHMENT0 : gl.COLOR_ATTACHMENT1);
        gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
        gl.bufferData(gl.PIXEL_PACK_BUFFER, values.byteLength, gl.STREAM_READ);
        gl.readPixels(0, 0, width, height, gl.RGBA_INTEGER, gl.UNSIGNED_INT, 0);
        gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
        await this.done();
        gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
        gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, values);
        gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
        gl.deleteBuffer(buffer);
        return values;
    }

    // Put a frame on the canvas: its picture (channel -1), or a channel of its counts up to `most`, or cycles a tile.
    show(frame, channel, most, tiles) {
        const gl = this.gl, { width, height } = gl.canvas, { place } = this.showing;
        gl.bindFramebuffer(gl.FRAMEBUFFER, null);
        this.use(this.showing, { pixels: frame.pixels, counts: frame.counts, cycles: tiles.texture });
        gl.uniform1i(place("layer"), channel);
        gl.uniform1f(place("most"), Math.max(most, 1));
        gl.uniform2f(place("tiles"), ...tiles.tiles);
        gl.uniform2f(place("size"), width, height);
        gl.uniform3fv(place("ramp"), RAMP.flat().map((value) => value / 255));
        gl.viewport(0, 0, width, height);
        gl.drawArrays(gl.TRIANGLES, 0, 3);
    }

    drop(frame) {
        for (const name of [...RAYS, "pixels", "counts"]) this.gl.deleteTexture(frame[name].texture);
        this.gl.deleteFramebuffer(frame.buffer);
    }
}
