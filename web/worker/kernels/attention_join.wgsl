// The softmaxes over runs of keys become one over all, in the place of ONNX Runtime's "FlashAttentionDecodeVxReduce": its bindings, its
// uniforms and its grid (a workgroup QUERY_TILE queries of a head, and eight vectors of it). There every thread goes through all runs to
// find their greatest; here through an eighth, and runs without a key that is seen are not read.

const Q: u32 = QUERY_TILE;
const LEAST = -3e38;

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>; // [batch, heads, queries, runs, head_size]
@group(0) @binding(1) var<storage, read> metadata: array<vec2<f32>>; // [batch, heads, queries, runs]: greatest score, sum of exp
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>; // [batch, queries, heads, head_size]
struct Uniforms {
  head_size_vec: u32,
  num_total_seq_length_tile: u32,
  num_present_sequence_length_tile: u32,
  num_head_size_tile: u32,
  batch_heads: u32,
  new_sequence_length: u32,
  num_heads: u32
};
@group(0) @binding(3) var<uniform> uniforms: Uniforms;

var<workgroup> sums: array<vec4<f32>, 64>; // by group of runs and vector
var<workgroup> softmax: array<vec2<f32>, 8>; // by group

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32, @builtin(num_workgroups) num_workgroups: vec3<u32>) {
  let index = (workgroup_id.z * num_workgroups.y + workgroup_id.y) * num_workgroups.x + workgroup_id.x;
  let query_tiles = (uniforms.new_sequence_length + Q - 1) / Q;
  let column = index % uniforms.num_head_size_tile * 8 + local % 8;
  let first_query = index / uniforms.num_head_size_tile % query_tiles * Q;
  let batch_head = index / (uniforms.num_head_size_tile * query_tiles);
  let group = local / 8;
  if (batch_head >= uniforms.batch_heads) {
    return;
  }
  for (var query = first_query; query < min(first_query + Q, uniforms.new_sequence_length); query++) {
    let runs = (batch_head * uniforms.new_sequence_length + query) * uniforms.num_present_sequence_length_tile;
    var highest = f32(LEAST);
    var total = 0.0;
    var sum = vec4<f32>(0);
    for (var run = group; run < uniforms.num_total_seq_length_tile; run += 8) {
      let part = metadata[runs + run];
      if (part.y > 0) {
        let now = max(highest, part.x);
        let scale = exp(highest - now);
        let weight = part.y * exp(part.x - now);
        if (column < uniforms.head_size_vec) {
          sum = sum * scale + weight * input[(runs + run) * uniforms.head_size_vec + column];
        }
        total = total * scale + weight;
        highest = now;
      }
    }
    sums[local] = sum;
    if (local % 8 == 0) {
      softmax[group] = vec2<f32>(highest, total);
    }
    workgroupBarrier();
    if (local < 8 && column < uniforms.head_size_vec) {
      var top = f32(LEAST);
      for (var k = 0u; k < 8; k++) {
        top = max(top, softmax[k].x);
      }
      var all = vec4<f32>(0);
      var whole = 0.0;
      for (var k = 0u; k < 8; k++) {
        let weight = exp(softmax[k].x - top);
        all += weight * sums[8 * k + local];
        whole += weight * softmax[k].y;
      }
      let head = batch_head % uniforms.num_heads;
      let batch = batch_head / uniforms.num_heads;
      output[((batch * uniforms.new_sequence_length + query) * uniforms.num_heads + head) * uniforms.head_size_vec + column] = all / whole;
    }
    workgroupBarrier();
  }
}
