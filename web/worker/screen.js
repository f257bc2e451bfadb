/**
 * The three canvases of the page, drawn from tensors. Pixels on the GPU are drawn there and never read back.
 *
 * A canvas keeps its kind of context for ever, and the route may change from WebGPU to WASM when a device is lost. So each visible canvas
 * only takes bitmaps, and a hidden one of the same size is drawn on.
 */

/** @typedef {import("../shared/messages.js").Panel} Panel */
/** @typedef {import("./inference.js").Handle} Handle */

const PANELS = /** @type {const} */ (["input", "mask", "output"]);

// One triangle over the whole canvas; a fragment is a pixel of the tensor, uint8 RGBA in one word.
const SHADER = `
@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<uniform> size: vec2u;
@vertex fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  return vec4f(f32((index << 1u) & 2u) * 2.0 - 1.0, f32(index & 2u) * 2.0 - 1.0, 0.0, 1.0);
}
@fragment fn pixel(@builtin(position) place: vec4f) -> @location(0) vec4f {
  let colour = unpack4x8unorm(pixels[u32(place.y) * size.x + u32(place.x)]);
  return vec4f(colour.rgb * colour.a, colour.a);
}`;

/** Draws on hidden canvases with WebGPU. */
class GpuBrush {
  /** @param {GPUDevice} device */
  constructor(device) {
    this.device = device;
    const module = device.createShaderModule({ code: SHADER });
    this.pipeline = device.createRenderPipeline({
      layout: "auto",
      vertex: { module, entryPoint: "cover" },
      fragment: { module, entryPoint: "pixel", targets: [{ format: "rgba8unorm" }] },
      primitive: { topology: "triangle-list" },
    });
    this.size = device.createBuffer({ size: 16, usage: 0x40 | 0x8 }); // UNIFORM | COPY_DST
    /** @type {{canvas: OffscreenCanvas, context: GPUCanvasContext}[]} */
    this.hidden = [];
  }

  /** @param {Handle[]} handles uint8 [height, width, 4] @param {number} width @param {number} height */
  draw(handles, width, height) {
    this.device.queue.writeBuffer(this.size, 0, new Uint32Array([width, height]));
    const encoder = this.device.createCommandEncoder();
    const bitmaps = handles.map((handle, index) => {
      const { context } = this.#hidden(index, width, height);
      const pass = encoder.beginRenderPass({
        colorAttachments: [{ view: context.getCurrentTexture().createView(), loadOp: "clear", storeOp: "store", clearValue: [0, 0, 0, 0] }],
      });
      pass.setPipeline(this.pipeline);
      const entries = [
        { binding: 0, resource: { buffer: /** @type {GPUBuffer} */ (handle.buffer) } },
        { binding: 1, resource: { buffer: this.size } },
      ];
      pass.setBindGroup(0, this.device.createBindGroup({ layout: this.pipeline.getBindGroupLayout(0), entries }));
      pass.draw(3);
      pass.end();
      return this.hidden[index].canvas;
    });
    this.device.queue.submit([encoder.finish()]);
    return bitmaps.map((canvas) => canvas.transferToImageBitmap());
  }

  /** @param {number} index @param {number} width @param {number} height */
  #hidden(index, width, height) {
    let entry = this.hidden[index];
    if (!entry) {
      const canvas = new OffscreenCanvas(width, height);
      const context = /** @type {GPUCanvasContext} */ (/** @type {unknown} */ (canvas.getContext("webgpu")));
      context.configure({ device: this.device, format: "rgba8unorm", alphaMode: "premultiplied" });
      entry = { canvas, context };
      this.hidden[index] = entry;
    }
    if (entry.canvas.width !== width) entry.canvas.width = width;
    if (entry.canvas.height !== height) entry.canvas.height = height;
    return entry;
  }
}

/** Draws on hidden canvases from the host's memory. */
class HostBrush {
  /** @type {{canvas: OffscreenCanvas, context: OffscreenCanvasRenderingContext2D}[]} */
  hidden = [];

  /** @param {Handle[]} handles @param {number} width @param {number} height */
  draw(handles, width, height) {
    return handles.map((handle, index) => {
      const { canvas, context } = this.#hidden(index, width, height);
      const data = /** @type {Uint8Array} */ (handle.tensor.data);
      context.putImageData(new ImageData(new Uint8ClampedArray(/** @type {ArrayBuffer} */ (data.buffer), data.byteOffset, data.byteLength), width, height), 0, 0);
      return canvas.transferToImageBitmap();
    });
  }

  /** @param {number} index @param {number} width @param {number} height */
  #hidden(index, width, height) {
    let entry = this.hidden[index];
    if (!entry) {
      const canvas = new OffscreenCanvas(width, height);
      const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
      entry = { canvas, context };
      this.hidden[index] = entry;
    }
    if (entry.canvas.width !== width) entry.canvas.width = width;
    if (entry.canvas.height !== height) entry.canvas.height = height;
    return entry;
  }
}

export class Screen {
  /** @param {Record<Panel, OffscreenCanvas>} canvases */
  constructor(canvases) {
    this.visible = PANELS.map((panel) => {
      const context = canvases[panel].getContext("bitmaprenderer");
      return { canvas: canvases[panel], context: /** @type {ImageBitmapRenderingContext} */ (context) };
    });
    /** @type {GpuBrush | HostBrush} */
    this.brush = new HostBrush();
    /** Whether anybody looks. */
    this.on = true;
  }

  /** @param {GPUDevice | null} device where tensors are from now on */
  use(device) {
    this.brush = device ? new GpuBrush(device) : new HostBrush();
  }

  /**
   * Show a frame: three tensors uint8 [height, width, 4].
   * @param {Handle} input @param {Handle} mask @param {Handle} output
   */
  draw(input, mask, output) {
    if (!this.on) return;
    const [height, width] = input.dims;
    const bitmaps = this.brush.draw([input, mask, output], width, height);
    bitmaps.forEach((bitmap, index) => {
      const { canvas, context } = this.visible[index];
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
      context.transferFromImageBitmap(bitmap);
    });
  }
}
