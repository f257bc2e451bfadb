/** A stream of a video's frames from some index on, with its pixels copied and its place in the video known. */

import { AlphaPass } from "./video_alpha.js";
import { DecodingPass, PACKET_OPTIONS, dismiss } from "./video_decoder.js";
import { damagedThroughout, endsAtOnce, noKeyFrame, noFrames, unreadable } from "./video_faults.js";
import { copiedFormat, copyPlanes, visibleSize } from "./video_planes.js";

/** @typedef {import("./video.js").Video} Video */
/** @typedef {import("./video_decoder.js").TimedFrame} TimedFrame */
/** @typedef {import("./video_planes.js").Plane} Plane */
/** @typedef {import("./video_planes.js").PlaneFormat} PlaneFormat */

/**
 * @typedef {object} DecodedFrame
 * @property {number} index counted from the start of the video
 * @property {number} time seconds since the first frame
 * @property {number} duration seconds; 0 where the file does not say
 * @property {number} width visible pixels as stored, before rotation
 * @property {number} height
 * @property {PlaneFormat} format
 * @property {string | null} matrix WebCodecs' name: "bt709", "smpte170m", "bt470bg", "bt2020-ncl", "rgb"; null: the file does not say
 * @property {boolean | null} fullRange null: the file does not say
 * @property {0 | 90 | 180 | 270} rotation clockwise degrees to turn it for display
 * @property {boolean} mirrored swap left and right before the rotation
 * @property {Plane[]} planes
 * @property {() => void} release give the planes back: they are overwritten by a later frame
 */

/** Frames in order of presentation; as `video.frames()` gives it. */
export class FrameStream {
  /**
   * @param {Video} video
   * @param {number} from
   */
  constructor(video, from) {
    this._video = video;
    this._from = from;
    /** @type {DecodingPass | null} */
    this._pass = null;
    /** @type {AlphaPass | null} */
    this._alpha = null;
    /** @type {TimedFrame | null} read ahead by `firstSize` */
    this._peeked = null;
    /** @type {Promise<unknown>} one `next()` at a time */
    this._turn = Promise.resolve();
    this._end = 0; // seconds, as the file has them
    this._skipped = 0; // packets before the first key frame
    this._over = new AbortController(); // lets go of the reader's signal, which may outlive the stream
    this.closed = video.closed;
    if (!this.closed) video.streams.add(this);
  }

  /**
   * End the stream when a signal says so.
   * @param {AbortSignal | undefined} signal
   */
  heed(signal) {
    if (signal?.aborted) void this.close();
    else signal?.addEventListener("abort", () => void this.close(), { once: true, signal: this._over.signal });
    return this;
  }

  /**
   * The next frame; null at the end, after `close()` and once the signal is aborted.
   * @returns {Promise<DecodedFrame | null>}
   * @throws {import("./faults.js").VideoFault} only where there is no frame at all or the file has become unreadable
   */
  next() {
    const frame = this._turn.then(() => this._next());
    this._turn = frame.catch(() => {});
    return frame;
  }

  /** Let go of every frame and of the decoder; may be called at any time, and twice. */
  async close() {
    if (this.closed) return;
    this._letGo();
    await this._turn;
  }

  /** Size as displayed of the first frame, which is decoded but not taken. */
  async firstSize() {
    this._peeked = await this._decode();
    if (!this._peeked) throw this._emptiness();
    const { width, height } = visibleSize(this._peeked.frame);
    return this._video.track.rotation % 180 ? { width: height, height: width } : { width, height };
  }

  /** @returns {Promise<DecodedFrame | null>} */
  async _next() {
    while (!this.closed) {
      const item = this._peeked ?? (await this._decode());
      this._peeked = null;
      if (!item) return this._finish();
      try {
        const index = this._place(item);
        if (index >= this._from && !this.closed) return await this._copy(item, index);
      } catch (error) {
        if (!this.closed) throw error; // else the frame was closed under our hands
      } finally {
        dismiss(item.frame);
      }
    }
    return null;
  }

  /** @returns {Promise<TimedFrame | null>} the next frame that the file means to be seen */
  async _decode() {
    this._pass ??= await this._start();
    for (;;) {
      const item = (await this._pass?.next()) ?? null;
      if (!item || !this.closed) {
        if (!item || this._video.track.shows(item.time)) return item;
      }
      dismiss(item.frame);
    }
  }

  /** Begin at the last key frame from which the wanted frame can be reached. */
  async _start() {
    const { packets, timeline, track } = this._video;
    const known = Math.min(this._from, timeline.length - 1);
    let start = null;
    let fault = null;
    try {
      if (known > 0) start = await packets.getKeyPacket(timeline.at(known), PACKET_OPTIONS);
      start ??= await packets.getFirstKeyPacket(PACKET_OPTIONS);
      if (!start) fault = await this._absence();
      else if (!known || known < 0) this._skipped = await countBefore(packets, start);
    } catch (error) {
      fault = unreadable(track.info.name, error);
    }
    if (this.closed || !start) {
      if (fault && !this.closed) throw fault;
      return null;
    }
    const midway = known > 0;
    if (track.transparent) this._alpha = new AlphaPass(packets, start, track.config, midway);
    return new DecodingPass(packets, start, track.config, { midway });
  }

  /** Why no packet can be decoded. */
  async _absence() {
    const { packets, track } = this._video;
    if (await packets.getFirstPacket()) return noKeyFrame(track.info);
    const isPromised = (await packets.getFirstPacket({ metadataOnly: true })) !== null || (track.announced ?? 0) > 0;
    return isPromised ? endsAtOnce(track.info.name) : noFrames(track.info);
  }

  /**
   * The index of a frame, by its time; -1 for one that was not there the first time.
   * @param {TimedFrame} item
   */
  _place({ time, duration }) {
    const { timeline } = this._video;
    this._end = Math.max(this._end, time + duration);
    if (!timeline.length || time > timeline.at(timeline.length - 1)) {
      timeline.push(time);
      return timeline.length - 1;
    }
    const index = timeline.search(time);
    return timeline.at(index) === time ? index : -1;
  }

  /**
   * @param {TimedFrame} item
   * @param {number} index
   * @returns {Promise<DecodedFrame>}
   */
  async _copy({ frame, time, duration }, index) {
    const { pool, timeline, track } = this._video;
    const format = this._alpha ? "RGBA" : copiedFormat(frame);
    if (format === "RGBA") this._video.warn(converted(track.info.name, this._alpha ? "with transparency" : frame.format));
    const size = visibleSize(frame);
    const set = await copyPlanes(frame, pool, format);
    await this._alpha?.apply(set, time, pool);
    let held = true;
    return {
      index,
      time: time - timeline.at(0),
      duration,
      ...size,
      format,
      ...track.colour,
      rotation: track.rotation,
      mirrored: track.mirrored,
      planes: set.planes,
      release: () => {
        if (held) pool.give(set);
        held = false;
      },
    };
  }

  /** Tell what was met on the way; null, as the end of the stream. */
  async _finish() {
    const pass = this._pass;
    if (pass && !this.closed) {
      const { info, announced } = this._video.track;
      const { timeline } = this._video;
      if (!timeline.length) throw this._emptiness();
      const before = Math.max(0, timeline.length - pass.frames);
      if (this._skipped) this._video.warn(`${info.name} begins without a key frame: packets left out at its start: ${this._skipped}.`);
      for (const sentence of findings(info, pass, before, announced, this._end)) this._video.warn(sentence);
    }
    this._letGo();
    return null;
  }

  _letGo() {
    this.closed = true;
    this._over.abort();
    this._video.streams.delete(this);
    this._pass?.close();
    this._alpha?.close();
    dismiss(this._peeked?.frame ?? null);
    this._peeked = null;
  }

  /** Why a video has not a single frame. */
  _emptiness() {
    const { info } = this._video.track;
    if (this._pass?.readingError) return unreadable(info.name, this._pass.readingError);
    return damagedThroughout(info, this._pass?.decodingError);
  }
}

/**
 * @param {string} name
 * @param {string | null} format
 */
function converted(name, format) {
  const kind = format ? `pixel format: ${format}` : "a pixel format that it does not name";
  return `The browser converted the colours of ${name} (${kind}): numbers can differ a little from the command line's.`;
}

/**
 * Packets that come before another, in order of decoding.
 * @param {import("mediabunny").EncodedPacketSink} packets
 * @param {import("mediabunny").EncodedPacket} start
 */
async function countBefore(packets, start) {
  let count = 0;
  let packet = await packets.getFirstPacket({ metadataOnly: true });
  for (; packet && packet.sequenceNumber < start.sequenceNumber; count++) packet = await packets.getNextPacket(packet, { metadataOnly: true });
  return count;
}

/**
 * What a pass met, as sentences.
 * @param {import("../shared/messages.js").VideoInfo} info
 * @param {DecodingPass} pass
 * @param {number} before frames of the video before this pass
 * @param {number | null} announced when the video should end, on its own clock
 * @param {number} end when it does
 */
function* findings({ name, fps }, pass, before, announced, end) {
  if (pass.lostPackets) {
    yield `${name} is damaged: packets that could not be decoded: ${pass.lostPackets} (from frame ${before + pass.firstLoss} on).`;
  }
  if (pass.readingError) {
    yield `${name} cannot be read beyond frame ${before + pass.frames}. The file may be cut off, or have been moved or changed.`;
  } else if (announced !== null && announced - end > Math.max(2 / fps, 0.05 * end)) {
    yield `${name} ends early: it announces ${announced.toFixed(2)} s and holds ${end.toFixed(2)} s. The file may be cut off.`;
  }
}
