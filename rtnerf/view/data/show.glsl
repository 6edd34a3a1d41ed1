// A frame on the screen: its picture, or counts as a heat map.

uniform usampler2D pixels, counts, cycles;  // `cycles`: of each tile of the simulated view.
uniform int layer;                          // -1: the picture; 0 to 3: a channel of the counts; 4: cycles a tile.
uniform float most;                         // What the hottest colour stands for.
uniform vec2 tiles;                         // Tiles across and down the view, not whole.
uniform vec2 size;                          // Of the screen, in pixels.
uniform vec3 ramp[5];

out vec4 colour;

void main() {
    vec2 place = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) / size;
    ivec2 here = ivec2(place * vec2(textureSize(pixels, 0)));
    if (layer < 0) {
        colour = vec4(vec3(texelFetch(pixels, here, 0).rgb) / float(CHANNEL_HIGH), 1.0);
        return;
    }
    uint value = layer < 4 ? texelFetch(counts, here, 0)[layer] : texelFetch(cycles, ivec2(place * tiles), 0).x;
    float heat = 4.0 * clamp(float(value) / most, 0.0, 1.0);
    int low = min(int(heat), 3);
    colour = vec4(mix(ramp[low], ramp[low + 1], heat - float(low)), 1.0);
}
