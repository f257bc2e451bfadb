// The index of the greatest of a row, the lowest of equals, in the place of ONNX Runtime's "ArgMax" over the last axis of three: its
// bindings, uniforms and grid (a workgroup has up to 64 rows), but more threads, of which at least four share a row.

@group(0) @binding(0) var<storage, read> input: array<f32>;
@group(0) @binding(1) var<storage, read_write> output: array<vec2<u32>>; // int64
struct Uniforms {
  input_shape: vec3<u32>,
  input_stride: vec2<u32>,
  output_shape: vec3<u32>,
  output_stride: vec2<u32>,
  output_size: u32,
  no_op_with_empty_axes: u32,
  reduce_size: u32
};
@group(0) @binding(2) var<uniform> uniforms: Uniforms;

const THREADS: u32 = 256;
var<workgroup> values: array<f32, THREADS>;
var<workgroup> indices: array<u32, THREADS>;

@compute @workgroup_size(THREADS, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32, @builtin(num_workgroups) num_workgroups: vec3<u32>) {
  let group = (workgroup_id.z * num_workgroups.y + workgroup_id.y) * num_workgroups.x + workgroup_id.x;
  let rows = min(64, uniforms.output_size - min(uniforms.output_size, group * 64));
  var sharing = THREADS; // threads a row
  while (THREADS / sharing < rows) {
    sharing /= 2;
  }
  let row = group * 64 + local / sharing;
  let width = uniforms.input_shape[2];
  var best = 0.0;
  var index = width;
  if (row < uniforms.output_size && local % sharing < width) {
    index = local % sharing;
    best = input[row * width + index];
    for (var start = index + sharing; start < width; start += 8 * sharing) {
      @each i 8: let ahead$i = input[row * width + min(start + $i * sharing, width - 1)];
      @each i 8: if (ahead$i > best && start + $i * sharing < width) { best = ahead$i; index = start + $i * sharing; }
    }
  }
  values[local] = best;
  indices[local] = index;
  for (var step = THREADS / 2; step > 0; step /= 2) {
    workgroupBarrier();
    if (step < sharing && local % sharing < step) {
      let other = values[local + step];
      let at = indices[local + step];
      if (at < width && (other > values[local] || (other == values[local] && at < indices[local]))) {
        values[local] = other;
        indices[local] = at;
      }
    }
  }
  workgroupBarrier();
  if (local % sharing == 0 && row < uniforms.output_size) {
    output[row] = vec2<u32>(indices[local], 0);
  }
}
