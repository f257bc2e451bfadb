/** The one module that owns the GPU device: finds it, and says in a sentence why there is none. */

/** @typedef {import("../shared/messages.js").Backend} Backend */

const FEATURES = /** @type {const} */ (["shader-f16", "timestamp-query"]);
// What ONNX Runtime would ask for if the device were its own; with less it takes slower kernels or fails to bind.
const LIMITS = /** @type {const} */ ([
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage",
  "maxBindGroups",
  "maxTextureDimension2D",
]);

/** Why the page computes in WASM, as sentences. @type {Record<Exclude<Backend["reason"], "">, string>} */
export const REASONS = {
  insecure: "This page was not opened over https or from this machine (127.0.0.1), and browsers offer WebGPU only there.",
  "no-api": "This browser has no WebGPU. Current Chrome, Edge and Safari have it.",
  "no-adapter": "This browser has WebGPU but found no graphics adapter it would use. A driver may be missing or blocked; chrome://gpu tells.",
  software: "The only graphics adapter is a software one, which is slower here than WASM.",
  "self-test": "The graphics adapter computed other gaze ids than it should in the self-test, so it is not used. Its driver may be at fault.",
  lost: "The graphics device was lost twice, so the work goes on without it.",
  asked: "WASM was chosen in the settings.",
};

/**
 * @typedef {object} Found
 * @property {GPUDevice | null} device
 * @property {Backend["adapter"]} adapter
 * @property {Backend["reason"]} reason why there is no device; "" where there is one
 */

/**
 * A device with all the adapter has that is of use, or why not.
 * Not subgroups: ONNX Runtime 1.30 computes MultiHeadAttention with a bias wrongly where they are four wide, and has no use for them where
 * it computes with our kernels.
 * @param {boolean} software whether a software adapter will do
 * @param {Record<string, number>} least limits to be lowered to, to act as a tighter device
 * @returns {Promise<Found>}
 */
export async function findDevice(software, least = {}) {
  if (!self.isSecureContext) return { device: null, adapter: null, reason: "insecure" };
  if (!navigator.gpu) return { device: null, adapter: null, reason: "no-api" };
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return { device: null, adapter: null, reason: "no-adapter" };
  const described = describe(adapter);
  if (described.fallback && !software) return { device: null, adapter: described, reason: "software" };
  const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature));
  /** @type {Record<string, number>} */
  const requiredLimits = {};
  for (const limit of LIMITS) requiredLimits[limit] = Math.min(adapter.limits[limit], least[limit] ?? Infinity);
  try {
    const device = await adapter.requestDevice({ label: "autogaze", requiredFeatures, requiredLimits });
    return { device, adapter: described, reason: "" };
  } catch {
    return { device: null, adapter: described, reason: "no-adapter" };
  }
}

/** @param {GPUAdapter} adapter @returns {NonNullable<Backend["adapter"]>} */
function describe(adapter) {
  const { vendor = "", architecture = "", description = "" } = adapter.info ?? {};
  // isFallbackAdapter is new in `info`; software rasterisers are also known by name
  const fallback = Boolean(adapter.info?.isFallbackAdapter) || /swiftshader|llvmpipe|lavapipe|softpipe/i.test(`${architecture} ${description}`);
  return { vendor, architecture, description, fallback };
}

/** "WebGPU on NVIDIA Hopper". @param {NonNullable<Backend["adapter"]>} adapter */
export function adapterName({ vendor, architecture, description }) {
  const known = /** @type {Record<string, string>} */ ({ nvidia: "NVIDIA", amd: "AMD", intel: "Intel", apple: "Apple", google: "Google", arm: "Arm", qualcomm: "Qualcomm" });
  const maker = known[vendor.toLowerCase()] ?? vendor;
  return description || [maker, architecture].filter(Boolean).join(" ") || "an unnamed adapter";
}
