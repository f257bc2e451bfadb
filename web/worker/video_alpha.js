/** Transparency of WebM: a second picture in each packet, whose luma says how opaque the first one is. */

import { DecodingPass, dismiss } from "./video_decoder.js";
import { overBlack, visibleSize } from "./video_planes.js";

/** @typedef {import("./video_decoder.js").TimedFrame} TimedFrame */
/** @typedef {import("./video_planes.js").PlanePool} PlanePool */
/** @typedef {import("./video_planes.js").PlaneSet} PlaneSet */

/** The second pictures of a track, in step with the first ones. */
export class AlphaPass {
  /**
   * @param {import("mediabunny").EncodedPacketSink} packets
   * @param {import("mediabunny").EncodedPacket} start
   * @param {VideoDecoderConfig} config
   * @param {boolean} midway
   */
  constructor(packets, start, config, midway) {
    this._pass = new DecodingPass(packets, start, config, { midway, data: (packet) => packet.sideData.alpha });
    /** @type {TimedFrame | null} the next one, if it came too early */
    this._waiting = null;
  }

  /**
   * Composite a picture over black; one without a second picture is opaque.
   * @param {PlaneSet} set RGBA
   * @param {number} time seconds, as the file has them
   * @param {PlanePool} pool
   */
  async apply(set, time, pool) {
    const item = await this._at(time);
    if (!item) return;
    try {
      const { width, height } = visibleSize(item.frame);
      if (4 * width * height !== set.buffer.length || item.frame.format !== "I420") return;
      const alpha = pool.take("I420", width, height);
      await item.frame.copyTo(alpha.buffer, { layout: alpha.planes.map(({ data, stride }) => ({ offset: data.byteOffset, stride })) });
      overBlack(set.buffer, alpha.planes[0].data);
      pool.give(alpha);
    } finally {
      dismiss(item.frame);
    }
  }

  close() {
    this._pass.close();
    dismiss(this._waiting?.frame ?? null);
    this._waiting = null;
  }

  /** @param {number} time */
  async _at(time) {
    for (;;) {
      const item = this._waiting ?? (await this._pass.next());
      this._waiting = null;
      if (!item || item.time === time) return item;
      if (item.time > time && !this._pass.closed) {
        this._waiting = item;
        return null;
      }
      dismiss(item.frame);
    }
  }
}
