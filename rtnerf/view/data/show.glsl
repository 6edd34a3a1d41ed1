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
    vec3 picture = vec3(texelFetch(pixels, here, 0).rgb) / float(CHANNEL_HIGH);
    uint value = layer == 4 ? texelFetch(cycles, ivec2(place * tiles), 0).x : texelFetch(counts, here, 0)[max(layer, 0)];
    float heat = 4.0 * clamp(float(value) / most, 0.0, 1.0);
    int low = min(int(heat), 3);
    vec3 map = mix(ramp[low], ramp[low + 1], heat - float(low));
    // Tiles are seen through.
    colour = vec4(layer < 0 ? picture : layer == 4 ? mix(vec3(dot(picture, vec3(0.3, 0.6, 0.1))), map, 0.75) : map, 1.0);
}
