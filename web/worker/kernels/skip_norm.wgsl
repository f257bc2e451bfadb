// x + skip, and that over its root mean square times gamma, in the place of ONNX Runtime's "SkipSimplifiedLayerNormalization": its
// bindings, uniforms and grid (a workgroup a row). Threads take vectors in turn: there, all but one have none of rows below 64 vectors.

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> skip: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> input_skip_bias_sum: array<vec4<f32>>;
struct Uniforms {
  components: u32,
  hidden_size: u32,
  epsilon: f32,
  skip_size: u32
};
@group(0) @binding(5) var<uniform> uniforms: Uniforms;

var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32, @builtin(num_workgroups) num_workgroups: vec3<u32>) {
  let row = (workgroup_id.z * num_workgroups.y + workgroup_id.y) * num_workgroups.x + workgroup_id.x;
  let width = uniforms.hidden_size / 4;
  var sum = 0.0;
  for (var i = local; i < width; i += 64) {
    let value = x[row * width + i] + skip[(row * width + i) % (uniforms.skip_size / 4)];
    input_skip_bias_sum[row * width + i] = value;
    sum += dot(value, value);
  }
  squares[local] = sum;
  for (var step = 32u; step > 0; step /= 2) {
    workgroupBarrier();
    if (local < step) {
      squares[local] += squares[local + step];
    }
  }
  workgroupBarrier();
  let scale = inverseSqrt(squares[0] / f32(uniforms.hidden_size) + uniforms.epsilon);
  for (var i = local; i < width; i += 64) {
    output[row * width + i] = input_skip_bias_sum[row * width + i] * scale * gamma[i];
  }
}
