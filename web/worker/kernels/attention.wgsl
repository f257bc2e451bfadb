// softmax(q · k + bias) · v for every head, in the place of ONNX Runtime's "FlashAttention": its bindings, its uniforms, its grid (a
// workgroup takes 64 queries of a head), and the same online softmax. Other than there
// - a thread holds a patch of scores, so that what it loads is used several times;
// - biases are read in rows, side by side;
// - keys whose bias is below HIDDEN for every query of the workgroup are neither read nor counted: caches have room to spare.
// A query must see one key at least.

const head_size: u32 = HEAD_SIZE;
const num_heads: u32 = NUM_HEADS;
const KEYS: u32 = KEYS_AT_ONCE;
const THREADS: u32 = THREAD_COUNT;
const HIDDEN = -1e29;
const LEAST = -3e38;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>; // [batch, queries, heads, head_size]
@group(0) @binding(1) var<storage, read> present_key: array<vec4<f32>>; // [batch, heads, keys, head_size]
@group(0) @binding(2) var<storage, read> present_value: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> attention_bias: array<vec4<f32>>; // [batch or 1, heads or 1, queries, keys]
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>; // as q
struct Uniforms {
  new_sequence_length: u32,
  total_sequence_length: u32,
  present_sequence_length: u32,
  batch_size: u32,
  n_reps: u32,
  alpha: f32,
  num_seq_tile: u32,
  attn_bias_dim0: u32,
  attn_bias_dim1: u32,
  attn_bias_dim3: u32,
  local_window_size: u32
};
@group(0) @binding(5) var<uniform> uniforms: Uniforms;

const H: u32 = head_size / 4; // vectors of a head
const QUADS: u32 = KEYS / 4; // threads beside each other, of four keys each
const DOWN: u32 = THREADS / QUADS; // and below each other,
const ROWS: u32 = 64 / DOWN; // of so many queries each
const OUT: u32 = 64 * H / THREADS; // queries whose values a thread sums
const VALUES: u32 = KEYS * H / THREADS; // vectors of the values that a thread brings
const WIDE: u32 = QUADS + 1; // vectors of a row of scores or turned keys; one more than needed keeps threads off each other's banks

var<workgroup> queries: array<vec4<f32>, 64 * H>;
var<workgroup> rows: array<vec4<f32>, max(head_size * WIDE, KEYS * H)>; // keys by channel, four keys a vector; then values by key
var<workgroup> scores: array<vec4<f32>, 64 * WIDE>; // by query; the last vector of each is what sums so far are scaled by
var<workgroup> visible: array<atomic<u32>, 2>; // by turns
var<workgroup> go: u32;

@compute @workgroup_size(THREADS, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32, @builtin(num_workgroups) num_workgroups: vec3<u32>) {
  let index = (workgroup_id.z * num_workgroups.y + workgroup_id.y) * num_workgroups.x + workgroup_id.x;
  let batch_head = index / uniforms.num_seq_tile;
  let head = batch_head % num_heads;
  let batch = batch_head / num_heads;
  if (batch >= uniforms.batch_size) {
    return;
  }
  let first_query = (index % uniforms.num_seq_tile) * 64;
  let count = min(64, uniforms.new_sequence_length - first_query);
  let place = ((batch * uniforms.new_sequence_length + first_query) * num_heads + head) * H; // of the first query and its result
  for (var i = local; i < 64 * H; i += THREADS) {
    var vector = vec4<f32>(0);
    if (i / H < count) {
      vector = q[place + i / H * num_heads * H + i % H] * uniforms.alpha;
    }
    queries[i] = vector;
  }
  let bias_batch = select(batch, 0, batch >= uniforms.attn_bias_dim0);
  let bias_head = select(head, 0, head >= uniforms.attn_bias_dim1);
  let bias = ((bias_batch * uniforms.attn_bias_dim1 + bias_head) * uniforms.new_sequence_length + first_query) * uniforms.attn_bias_dim3 / 4;
  let cache = batch_head / uniforms.n_reps * uniforms.present_sequence_length * H;

  // A thread scores four keys for ROWS queries, owns one query's softmax, and sums one vector of the values for OUT queries.
  let x = local % QUADS;
  let y = local / QUADS;
  let column = local % H;
  let group = local / H;
  @each i OUT: var sum$i = vec4<f32>(0);
  var highest = f32(LEAST);
  var total = 0.0;
  var turn = 0u;
  for (var start = 0u; start < uniforms.total_sequence_length; start += KEYS) {
    @each i ROWS: var score$i = vec4<f32>(2 * HIDDEN);
    @each i ROWS: if (y * ROWS + $i < count) { score$i = attention_bias[bias + (y * ROWS + $i) * (uniforms.attn_bias_dim3 / 4) + start / 4 + x]; }
    var best = score0;
    @each i ROWS: best = max(best, score$i);
    if (max(max(best.x, best.y), max(best.z, best.w)) > HIDDEN) {
      atomicOr(&visible[turn], 1);
    }
    workgroupBarrier();
    if (local == 0) {
      go = atomicLoad(&visible[turn]);
      atomicStore(&visible[1 - turn], 0);
    }
    turn = 1 - turn;
    if (workgroupUniformLoad(&go) == 0) {
      continue;
    }
    let tile = cache + start * H;
    if (local < QUADS * H) {
      let quad = local % QUADS; // of keys
      let channel = 4 * (local / QUADS);
      let at = tile + quad * 4 * H + local / QUADS;
      let a = present_key[at];
      let b = present_key[at + H];
      let c = present_key[at + 2 * H];
      let d = present_key[at + 3 * H];
      rows[channel * WIDE + quad] = vec4<f32>(a.x, b.x, c.x, d.x);
      rows[(channel + 1) * WIDE + quad] = vec4<f32>(a.y, b.y, c.y, d.y);
      rows[(channel + 2) * WIDE + quad] = vec4<f32>(a.z, b.z, c.z, d.z);
      rows[(channel + 3) * WIDE + quad] = vec4<f32>(a.w, b.w, c.w, d.w);
    }
    @each i VALUES: let value$i = present_value[tile + local + THREADS * $i];
    workgroupBarrier();
    if (y * ROWS < count) {
      for (var c = 0u; c < H; c++) {
        let k0 = rows[4 * c * WIDE + x];
        let k1 = rows[(4 * c + 1) * WIDE + x];
        let k2 = rows[(4 * c + 2) * WIDE + x];
        let k3 = rows[(4 * c + 3) * WIDE + x];
        @each i ROWS: let q$i = queries[(y * ROWS + $i) * H + c];
        @each i ROWS: score$i = k3 * q$i.w + (k2 * q$i.z + (k1 * q$i.y + (k0 * q$i.x + score$i)));
      }
    }
    @each i ROWS: scores[(y * ROWS + $i) * WIDE + x] = score$i;
    workgroupBarrier();
    @each i VALUES: rows[local + THREADS * $i] = value$i;
    if (local < 64) {
      var top = vec4<f32>(highest);
      @each i QUADS: let s$i = scores[local * WIDE + $i];
      @each i QUADS: top = max(top, s$i);
      let now = max(max(top.x, top.y), max(top.z, top.w));
      var part = vec4<f32>(0);
      @each i QUADS: let p$i = exp(s$i - now);
      @each i QUADS: part += p$i;
      @each i QUADS: scores[local * WIDE + $i] = p$i;
      let scale = exp(highest - now);
      total = total * scale + part.x + part.y + part.z + part.w;
      highest = now;
      scores[local * WIDE + QUADS] = vec4<f32>(scale);
    }
    workgroupBarrier();
    if (group * OUT < count) {
      @each i OUT: sum$i *= scores[(group * OUT + $i) * WIDE + QUADS].x;
      for (var k = 0u; k < QUADS; k++) {
        let v0 = rows[4 * k * H + column];
        let v1 = rows[(4 * k + 1) * H + column];
        let v2 = rows[(4 * k + 2) * H + column];
        let v3 = rows[(4 * k + 3) * H + column];
        @each i OUT: let p$i = scores[(group * OUT + $i) * WIDE + k];
        @each i OUT: sum$i = v3 * p$i.w + (v2 * p$i.z + (v1 * p$i.y + (v0 * p$i.x + sum$i)));
      }
    }
  }
  workgroupBarrier();
  if (local < 64) {
    scores[local * WIDE] = vec4<f32>(total);
  }
  workgroupBarrier();
  @each i OUT: if (group * OUT + $i < count) { output[place + (group * OUT + $i) * num_heads * H + column] = sum$i / scores[(group * OUT + $i) * WIDE].x; }
}
