// Attention of a few queries over a run of 64 keys, in the place of ONNX Runtime's "FlashAttentionDecodeQKV": its bindings, its uniforms,
// its grid (a workgroup a run of keys, of a head, of QUERY_TILE queries) and its result, a softmax over the run with what is needed to
// join it with the others'. Other than there
// - one workgroup takes up to FEW queries, so that keys and values are read once; those of the other query tiles have nothing to do;
// - a run that no query sees, by a bias below HIDDEN, is not read.

const Q: u32 = QUERY_TILE;
const FEW: u32 = 12; // queries, a multiple of 4
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

var<workgroup> queries: array<vec4<f32>, FEW * H>;
var<workgroup> scores: array<vec4<f32>, 64 * FEW / 4>; // by key
var<workgroup> sums: array<vec4<f32>, 64>; // by group of H keys and vector
var<workgroup> softmax: array<vec2<f32>, FEW * 8>; // greatest score and sum of exp, by query and group
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
  var score: array<f32, FEW>;
  var best = f32(LEAST);
  for (var i = 0u; i < FEW; i++) {
    score[i] = 2 * HIDDEN;
    if (local < keys && i < count) {
      score[i] = attention_bias[bias + i * uniforms.attn_bias_dim3];
    }
    best = max(best, score[i]);
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
  var key: array<vec4<f32>, H>;
  for (var c = 0u; c < H; c++) {
    key[c] = present_key[cache + min(local, keys - 1) * H + c];
  }
  let column = local % H;
  let group = local / H;
  var values: array<vec4<f32>, H>; // of the group's keys, a vector of each
  for (var k = 0u; k < H; k++) {
    values[k] = present_value[cache + min(group * H + k, keys - 1) * H + column];
  }
  for (var i = local; i < FEW * H; i += 64) {
    var vector = vec4<f32>(0);
    if (i / H < count) {
      vector = q[((batch * uniforms.new_sequence_length + first_query + i / H) * uniforms.num_heads + head) * H + i % H] * uniforms.alpha;
    }
    queries[i] = vector;
  }
  workgroupBarrier();
  for (var i = 0u; i < FEW; i++) {
    for (var c = 0u; c < H; c++) {
      score[i] += dot(queries[i * H + c], key[c]);
    }
  }
  for (var i = 0u; i < FEW / 4; i++) {
    scores[local * (FEW / 4) + i] = vec4<f32>(score[4 * i], score[4 * i + 1], score[4 * i + 2], score[4 * i + 3]);
  }
  workgroupBarrier();
  // Each group has a softmax of its keys; the last step joins the eight.
  var sum: array<vec4<f32>, FEW>;
  for (var i = 0u; i < FEW / 4; i++) {
    var top = vec4<f32>(LEAST);
    for (var k = 0u; k < H; k++) {
      top = max(top, scores[(group * H + k) * (FEW / 4) + i]);
    }
    var total = vec4<f32>(0);
    for (var k = 0u; k < H; k++) {
      let p = exp(scores[(group * H + k) * (FEW / 4) + i] - top);
      total += p;
      sum[4 * i] += p.x * values[k];
      sum[4 * i + 1] += p.y * values[k];
      sum[4 * i + 2] += p.z * values[k];
      sum[4 * i + 3] += p.w * values[k];
    }
    if (column == 0) {
      softmax[4 * i * 8 + group] = vec2<f32>(top.x, total.x);
      softmax[(4 * i + 1) * 8 + group] = vec2<f32>(top.y, total.y);
      softmax[(4 * i + 2) * 8 + group] = vec2<f32>(top.z, total.z);
      softmax[(4 * i + 3) * 8 + group] = vec2<f32>(top.w, total.w);
    }
  }
  for (var i = 0u; i < FEW; i++) {
    workgroupBarrier();
    sums[local] = sum[i];
    workgroupBarrier();
    if (local < H && i < count) {
      var top = f32(LEAST);
      for (var k = 0u; k < 8; k++) {
        top = max(top, softmax[i * 8 + k].x);
      }
      var all = vec4<f32>(0);
      var total = 0.0;
      for (var k = 0u; k < 8; k++) {
        let weight = exp(softmax[i * 8 + k].x - top);
        all += weight * sums[k * H + local];
        total += weight * softmax[i * 8 + k].y;
      }
      out_split_vx[(out + i * uniforms.num_present_sequence_length_tile) * H + local] = all / total;
      if (local == 0) {
        metadata[out + i * uniforms.num_present_sequence_length_tile] = vec2<f32>(top, total);
      }
    }
  }
}
