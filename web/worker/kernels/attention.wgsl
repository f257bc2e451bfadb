// softmax(q · k + bias) · v for every head, in the place of ONNX Runtime's "FlashAttention": its bindings, its uniforms, its grid (a
// workgroup takes 64 queries of a head), and the same online softmax. Other than there
// - a thread holds a patch of scores, so that what it loads is used several times;
// - biases are read in rows, side by side;
// - keys whose bias is below HIDDEN for every query of the workgroup are neither read nor counted: caches have room to spare.
// A query must see one key at least.

const head_size: u32 = HEAD_SIZE;
const num_heads: u32 = NUM_HEADS;
const KEYS: u32 = KEYS_AT_ONCE;
const HIDDEN = -1e29;
const LEAST = -3e38;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>; // [batch, queries, heads, head_size]
@group(0) @binding(1) var<storage, read> present_key: array<vec4<f32>>; // [batch, heads, keys, head_size]
@group(0) @binding(2) var<storage, read> present_value: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> attention_bias: array<f32>; // [batch or 1, heads or 1, queries, keys]
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
const ACROSS: u32 = KEYS / 4; // threads beside each other, of four keys each
const DOWN: u32 = 64 / ACROSS; // and below each other,
const ROWS: u32 = 64 / DOWN; // of so many queries each
const KEY_WIDE: u32 = H + 1; // one vector of room keeps threads off each other's banks
const SCORES_WIDE: u32 = KEYS / 4 + 1;

var<workgroup> queries: array<vec4<f32>, 64 * H>;
var<workgroup> rows: array<vec4<f32>, KEYS * KEY_WIDE>; // of keys, then of values
var<workgroup> scores: array<vec4<f32>, 64 * SCORES_WIDE>; // by query; the last vector of each is what sums so far are scaled by
var<workgroup> visible: array<atomic<u32>, 2>; // by turns
var<workgroup> go: u32;

struct Place {
  first_query: u32,
  count: u32, // of queries
  keys: u32, // where the head's keys begin, in vectors
  bias: u32, // where the first query's biases begin
  out: u32, // where the first query and its result are, in vectors
};

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) local: u32, @builtin(num_workgroups) num_workgroups: vec3<u32>) {
  let index = (workgroup_id.z * num_workgroups.y + workgroup_id.y) * num_workgroups.x + workgroup_id.x;
  let batch_head = index / uniforms.num_seq_tile;
  let head = batch_head % num_heads;
  let batch = batch_head / num_heads;
  if (batch >= uniforms.batch_size) {
    return;
  }
  var place: Place;
  place.first_query = (index % uniforms.num_seq_tile) * 64;
  place.count = min(64, uniforms.new_sequence_length - place.first_query);
  place.keys = batch_head / uniforms.n_reps * uniforms.present_sequence_length * H;
  let bias_batch = select(batch, 0, batch >= uniforms.attn_bias_dim0);
  let bias_head = select(head, 0, head >= uniforms.attn_bias_dim1);
  place.bias = ((bias_batch * uniforms.attn_bias_dim1 + bias_head) * uniforms.new_sequence_length + place.first_query) * uniforms.attn_bias_dim3;
  place.out = ((batch * uniforms.new_sequence_length + place.first_query) * num_heads + head) * H;
  for (var i = local; i < 64 * H; i += 64) {
    var vector = vec4<f32>(0);
    if (i / H < place.count) {
      vector = q[place.out + i / H * num_heads * H + i % H] * uniforms.alpha;
    }
    queries[i] = vector;
  }
  attend(place, local);
}

fn biases(place: Place, query: u32, key: u32) -> vec4<f32> {
  if (query >= place.count) {
    return vec4<f32>(2 * HIDDEN);
  }
  let at = place.bias + query * uniforms.attn_bias_dim3 + key;
  let found = vec4<f32>(attention_bias[at], attention_bias[at + 1], attention_bias[at + 2], attention_bias[at + 3]);
  return select(vec4<f32>(2 * HIDDEN), found, vec4<u32>(key) + vec4<u32>(0, 1, 2, 3) < vec4<u32>(uniforms.total_sequence_length));
}

/// A thread scores four keys for ROWS queries, owns one query's softmax, and sums one vector of the values for H queries.
fn attend(place: Place, local: u32) {
  let x = local % ACROSS;
  let y = local / ACROSS;
  let column = local % H;
  let group = local / H;
  var sums: array<vec4<f32>, H>;
  var highest = f32(LEAST);
  var total = 0.0;
  var turn = 0u;
  for (var start = 0u; start < uniforms.total_sequence_length; start += KEYS) {
    var square: array<vec4<f32>, ROWS>;
    var best = vec4<f32>(LEAST);
    for (var i = 0u; i < ROWS; i++) {
      square[i] = biases(place, y * ROWS + i, start + 4 * x);
      best = max(best, square[i]);
    }
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
    // Keys side by side in a thread lie apart in `rows`, so that threads side by side read neighbours.
    var held: array<vec4<f32>, KEYS * H / 64>;
    for (var i = 0u; i < KEYS * H / 64; i++) {
      let key = (local + 64 * i) / H;
      held[i] = vec4<f32>(0);
      if (start + key < uniforms.total_sequence_length) {
        held[i] = present_value[place.keys + start * H + local + 64 * i];
        rows[(key % 4 * ACROSS + key / 4) * KEY_WIDE + (local + 64 * i) % H] = present_key[place.keys + start * H + local + 64 * i];
      }
    }
    workgroupBarrier();
    if (y * ROWS < place.count) {
      for (var c = 0u; c < H; c++) {
        let a = rows[x * KEY_WIDE + c];
        let b = rows[(ACROSS + x) * KEY_WIDE + c];
        let d = rows[(2 * ACROSS + x) * KEY_WIDE + c];
        let e = rows[(3 * ACROSS + x) * KEY_WIDE + c];
        for (var i = 0u; i < ROWS; i++) {
          let vector = queries[(y * ROWS + i) * H + c];
          square[i] += vec4<f32>(dot(vector, a), dot(vector, b), dot(vector, d), dot(vector, e));
        }
      }
    }
    for (var i = 0u; i < ROWS; i++) {
      scores[(y * ROWS + i) * SCORES_WIDE + x] = square[i];
    }
    workgroupBarrier();
    for (var i = 0u; i < KEYS * H / 64; i++) {
      rows[(local + 64 * i) / H * KEY_WIDE + (local + 64 * i) % H] = held[i];
    }
    let own = local * SCORES_WIDE;
    var top = vec4<f32>(highest);
    for (var i = 0u; i < KEYS / 4; i++) {
      top = max(top, scores[own + i]);
    }
    let now = max(max(top.x, top.y), max(top.z, top.w));
    var sum = vec4<f32>(0);
    for (var i = 0u; i < KEYS / 4; i++) {
      let probability = exp(scores[own + i] - now);
      scores[own + i] = probability;
      sum += probability;
    }
    let scale = exp(highest - now);
    total = total * scale + sum.x + sum.y + sum.z + sum.w;
    highest = now;
    scores[own + KEYS / 4] = vec4<f32>(scale);
    workgroupBarrier();
    if (group * H < place.count) {
      for (var i = 0u; i < H; i++) {
        sums[i] *= scores[(group * H + i) * SCORES_WIDE + KEYS / 4].x;
      }
      for (var k = 0u; k < KEYS / 4; k++) {
        let a = rows[4 * k * KEY_WIDE + column];
        let b = rows[(4 * k + 1) * KEY_WIDE + column];
        let d = rows[(4 * k + 2) * KEY_WIDE + column];
        let e = rows[(4 * k + 3) * KEY_WIDE + column];
        for (var i = 0u; i < H; i++) {
          let p = scores[(group * H + i) * SCORES_WIDE + k];
          sums[i] += p.x * a + p.y * b + p.z * d + p.w * e;
        }
      }
    }
  }
  scores[local * SCORES_WIDE] = vec4<f32>(total);
  workgroupBarrier();
  for (var i = 0u; i < H; i++) {
    let query = group * H + i;
    if (query < place.count) {
      output[place.out + query * num_heads * H + column] = sums[i] / scores[query * SCORES_WIDE].x;
    }
  }
}
