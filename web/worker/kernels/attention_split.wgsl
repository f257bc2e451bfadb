// Attention of a few queries over a run of 64 keys, in the place of ONNX Runtime's "FlashAttentionDecodeQKV": its bindings, its uniforms,
// its grid (a workgroup a run of keys, of a head, of QUERY_TILE queries) and its result, a softmax over the run with what is needed to
// join it with the others'. Other than there
// - one workgroup takes up to FEW queries, so that keys and values are read once; those of the other query tiles have nothing to do;
// - a run that no query sees, by a bias below HIDDEN, is not read.

const Q: u32 = QUERY_TILE;
const FEW: u32 = MOST_QUERIES; // a multiple of 4
const H: u32 = 8; // vectors of a head
const HIDDEN = -1e29;
const LEAST = -3e38;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>; // [batch, queries, heads, head_size]
@group(0) @binding(1) var<storage, read> present_key: array<vec4<f32>>; // [batch, heads, keys, head_size]
@group(0) @binding(2) var<storage, read> present_value: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> attention_bias: array<f32>; // [batch or 1, heads or 1, queries, keys]
@group(0) @binding(4) var<storage, read_write> out_split_vx: array<vec4<f32>>; // [batch, heads, queries, runs, head_size]
@group(0) @binding(5) var<storage, read_write> metadata: array<vec2<f32>>; // [batch, heads, queries, runs]: greatest score, sum of exp
struct Uniforms {
  head_size_vec: u32,
  total_sequence_length: u32,
  alpha: f32,
  present_sequence_length: u32,
  n_reps: u32,
  num_present_sequence_length_tile: u32,
  num_heads: u32,
  batch_size: u32,
  attn_bias_dim0: u32,
  attn_bias_dim1: u32,
  attn_bias_dim3: u32,
  new_sequence_length: u32
};
@group(0) @binding(6) var<uniform> uniforms: Uniforms;

const QUADS: u32 = FEW / 4;

var<workgroup> queries: array<vec4<f32>, FEW * H>;
var<workgroup> scores: array<vec4<f32>, 64 * QUADS>; // by key; then their exp
var<workgroup> highest: array<vec4<f32>, 8 * QUADS>; // of eight keys each
var<workgroup> totals: array<vec4<f32>, 8 * QUADS>; // of exp, likewise
var<workgroup> sums: array<vec4<f32>, 4 * 64>; // of four queries, by group of eight keys and vector
var<workgroup> visible: atomic<u32>;
var<workgroup> go: u32;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32, @builtin(num_workgroups) num_workgroups: vec3<u32>) {
  let index = (workgroup_id.z * num_workgroups.y + workgroup_id.y) * num_workgroups.x + workgroup_id.x;
  let runs = (uniforms.total_sequence_length + 63) / 64;
  let query_tiles = (uniforms.new_sequence_length + Q - 1) / Q;
  let run = index % runs;
  let first_query = index / runs % query_tiles * Q;
  let batch_head = index / (runs * query_tiles);
  let head = batch_head % uniforms.num_heads;
  let batch = batch_head / uniforms.num_heads;
  if (batch >= uniforms.batch_size || first_query % FEW != 0) {
    return;
  }
  let count = min(FEW, uniforms.new_sequence_length - first_query);
  let first_key = run * 64;
  let keys = min(64, uniforms.total_sequence_length - first_key);
  let out = (batch_head * uniforms.new_sequence_length + first_query) * uniforms.num_present_sequence_length_tile + run; // of the first query

  // The bias of the thread's key, by query.
  let bias_batch = select(batch, 0, batch >= uniforms.attn_bias_dim0);
  let bias_head = select(head, 0, head >= uniforms.attn_bias_dim1);
  let bias = ((bias_batch * uniforms.attn_bias_dim1 + bias_head) * uniforms.new_sequence_length + first_query) * uniforms.attn_bias_dim3 + first_key + local;
  var best = f32(LEAST);
  @each i FEW: var score$i = f32(2 * HIDDEN);
  if (local < keys) {
    @each i FEW: if ($i < count) { score$i = attention_bias[bias + $i * uniforms.attn_bias_dim3]; }
    @each i FEW: best = max(best, score$i);
  }
  if (best > HIDDEN) {
    atomicOr(&visible, 1);
  }
  workgroupBarrier();
  if (local == 0) {
    go = atomicLoad(&visible);
  }
  if (workgroupUniformLoad(&go) == 0) {
    for (var i = local; i < count * H; i += 64) {
      out_split_vx[(out + i / H * uniforms.num_present_sequence_length_tile) * H + i % H] = vec4<f32>(0);
    }
    if (local < count) {
      metadata[out + local * uniforms.num_present_sequence_length_tile] = vec2<f32>(LEAST, 0);
    }
    return;
  }

  let cache = (batch_head / uniforms.n_reps * uniforms.present_sequence_length + first_key) * H;
  let column = local % H;
  let group = local / H;
  @each c H: let key$c = present_key[cache + min(local, keys - 1) * H + $c];
  @each k H: let value$k = present_value[cache + min(group * H + $k, keys - 1) * H + column];
  for (var i = local; i < FEW * H; i += 64) {
    var vector = vec4<f32>(0);
    if (i / H < count) {
      vector = q[((batch * uniforms.new_sequence_length + first_query + i / H) * uniforms.num_heads + head) * H + i % H] * uniforms.alpha;
    }
    queries[i] = vector;
  }
  workgroupBarrier();
  @each c H: @each i FEW: score$i = product(queries[$i * H + $c], key$c, score$i);
  @each i QUADS: let own$i = vec4<f32>(score{4 * $i}, score{4 * $i + 1}, score{4 * $i + 2}, score{4 * $i + 3});
  @each i QUADS: scores[local * QUADS + $i] = own$i;
  workgroupBarrier();
  if (local < 8 * QUADS) {
    var most = vec4<f32>(LEAST);
    @each k 8: most = max(most, scores[(local / QUADS * 8 + $k) * QUADS + local % QUADS]);
    highest[local] = most;
  }
  workgroupBarrier();
  @each i QUADS: var top$i = vec4<f32>(LEAST);
  @each k 8: @each i QUADS: top$i = max(top$i, highest[$k * QUADS + $i]);
  @each i QUADS: scores[local * QUADS + $i] = exp(own$i - top$i);
  workgroupBarrier();
  @each i FEW: var sum$i = vec4<f32>(0);
  @each i QUADS: var total$i = vec4<f32>(0);
  @each k H: @each i QUADS: let p$k_$i = scores[(group * H + $k) * QUADS + $i];
  @each k H: @each i QUADS: total$i += p$k_$i;
  @each k H: @each i QUADS: sum{4 * $i} += value$k * p$k_$i.x;
  @each k H: @each i QUADS: sum{4 * $i + 1} += value$k * p$k_$i.y;
  @each k H: @each i QUADS: sum{4 * $i + 2} += value$k * p$k_$i.z;
  @each k H: @each i QUADS: sum{4 * $i + 3} += value$k * p$k_$i.w;
  if (column == 0) {
    @each i QUADS: totals[group * QUADS + $i] = total$i;
  }
  // Four queries at a time the eight groups' sums become one.
  @each i QUADS: join($i, local, sum{4 * $i}, sum{4 * $i + 1}, sum{4 * $i + 2}, sum{4 * $i + 3}, top$i, out, count);
}

/// a.x · b.x + … + c
fn product(a: vec4<f32>, b: vec4<f32>, c: f32) -> f32 {
  return a.w * b.w + (a.z * b.z + (a.y * b.y + (a.x * b.x + c)));
}

fn join(quad: u32, local: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, top: vec4<f32>, out: u32, count: u32) {
  workgroupBarrier();
  sums[local] = a;
  sums[64 + local] = b;
  sums[128 + local] = c;
  sums[192 + local] = d;
  workgroupBarrier();
  let query = local / H; // of the quad
  if (query < 4 && 4 * quad + query < count) {
    var all = vec4<f32>(0);
    var total = vec4<f32>(0);
    @each k 8: all += sums[query * 64 + $k * H + local % H];
    @each k 8: total += totals[$k * QUADS + quad];
    let place = out + (4 * quad + query) * uniforms.num_present_sequence_length_tile;
    out_split_vx[place * H + local % H] = all / total[query];
    if (local % H == 0) {
      metadata[place] = vec2<f32>(top[query], total[query]);
    }
  }
}
