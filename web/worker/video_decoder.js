/**
 * One pass of a VideoDecoder over packets: frames in order of presentation, few of them alive at a time, damaged stretches skipped.
 *
 * Mediabunny's own sample sink is not used: it keeps up to 40 decoded frames, gives up at the first damaged packet, and calls an
 * undeclared colour matrix BT.709.
 */

/** @typedef {import("mediabunny").EncodedPacket} EncodedPacket */
/** @typedef {import("mediabunny").EncodedPacketSink} EncodedPacketSink */
/** @typedef {{frame: VideoFrame, time: number, duration: number}} TimedFrame seconds, as the file has them */
/** @typedef {{time: number, duration: number}} Timing */

const MAX_READY = 2; // decoded frames that wait for their reader
const MAX_QUEUED = 3; // packets that wait for the decoder; it works on several at once
const MAX_PENDING = 64; // packets without a frame: more than any decoder reorders, the rest were never meant to be seen
export const PACKET_OPTIONS = { verifyKeyPackets: true }; // containers mark packets as key frames that are none

let live = 0;

/** VideoFrames that are open now; 0 when every stream has ended. */
export function liveFrames() {
  return live;
}

/** @param {VideoFrame} frame */
export function adopt(frame) {
  live++;
  return frame;
}

/** @param {VideoFrame | null} frame */
export function dismiss(frame) {
  if (!frame) return;
  live--;
  frame.close();
}

/** Decodes from a key packet to the end of the track. */
export class DecodingPass {
  /**
   * @param {EncodedPacketSink} packets
   * @param {EncodedPacket} start a key packet
   * @param {VideoDecoderConfig} config
   * @param {object} [options]
   * @param {boolean} [options.midway] begin in the middle of the track
   * @param {(packet: EncodedPacket) => Uint8Array | undefined} [options.data] what of a packet is decoded; undefined where it has none
   */
  constructor(packets, start, config, { midway = false, data = (packet) => packet.data } = {}) {
    this._packets = packets;
    this._config = config;
    this._data = data;
    // Frames shown before the key frame they follow need frames from before it: decoders drop them, show them damaged, or give up.
    this._earliest = midway ? start.timestamp : -Infinity;
    /** @type {TimedFrame[]} */
    this._ready = [];
    /** @type {Map<number, Timing>} packets that have given no frame yet, by timestamp in µs */
    this._pending = new Map();
    /** @type {(() => void)[]} */
    this._sleepers = [];
    this._last = -Infinity;
    this._ended = false;
    this.closed = false;
    this.frames = 0;
    this.lostPackets = 0;
    this.firstLoss = 0; // frames before the first packet that was lost
    /** @type {unknown} */
    this.decodingError = null;
    /** @type {unknown} */
    this.readingError = null;
    this._decoder = this._configured();
    void this._pump(start);
  }

  /**
   * The next frame, or null at the end and after `close()`. The caller dismisses it.
   * @returns {Promise<TimedFrame | null>}
   */
  async next() {
    while (!this.closed) {
      const item = this._ready.shift();
      if (item) {
        this._wake();
        return item;
      }
      if (this._ended) return null;
      await this._change();
    }
    return null;
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    if (this._decoder.state !== "closed") this._decoder.close();
    for (const item of this._ready.splice(0)) dismiss(item.frame);
    this._pending.clear();
    this._wake();
  }

  /** @param {EncodedPacket} start */
  async _pump(start) {
    try {
      /** @type {EncodedPacket | null} */
      let packet = start;
      while (packet && !this.closed) {
        while (this._isFull() && !this.closed) await this._change();
        if (this.closed) return;
        this._feed(packet);
        packet = await this._packets.getNextPacket(packet, PACKET_OPTIONS);
      }
      if (!this.closed && this._decoder.state === "configured") await this._decoder.flush().catch(() => {}); // told by _onError
    } catch (error) {
      this.readingError = error;
    } finally {
      if (!this.closed && this._decoder.state !== "closed") this._decoder.close();
      this._ended = true;
      this._wake();
    }
  }

  _isFull() {
    const { state, decodeQueueSize } = this._decoder;
    return this._ready.length >= MAX_READY || (state === "configured" && decodeQueueSize >= MAX_QUEUED);
  }

  /** @param {EncodedPacket} packet */
  _feed(packet) {
    const data = this._data(packet);
    if (!data) return;
    if (this._decoder.state === "closed") {
      if (packet.type !== "key") return this._lose(1); // after an error nothing can be decoded before the next key frame
      this._decoder = this._configured();
      this._earliest = packet.timestamp;
    }
    if (packet.timestamp < this._earliest) return;
    const microseconds = Math.round(packet.timestamp * 1e6);
    if (this._pending.size >= MAX_PENDING) this._forget();
    this._pending.set(microseconds, { time: packet.timestamp, duration: packet.duration });
    const { type } = packet;
    try {
      this._decoder.decode(new EncodedVideoChunk({ data, type, timestamp: microseconds, duration: Math.round(packet.duration * 1e6) }));
    } catch (error) {
      this._onError(error);
      if (this._decoder.state !== "closed") this._decoder.close();
    }
  }

  _configured() {
    const decoder = new VideoDecoder({
      output: (frame) => decoder === this._decoder && this._onFrame(adopt(frame)),
      error: (error) => decoder === this._decoder && this._onError(error),
    });
    decoder.addEventListener("dequeue", () => this._wake());
    decoder.configure(this._config);
    return decoder;
  }

  /** @param {VideoFrame} frame */
  _onFrame(frame) {
    if (this.closed) return dismiss(frame);
    const { time, duration } = this._timing(frame);
    this._last = time;
    this.frames++;
    this._ready.push({ frame, time, duration });
    this._wake();
  }

  /**
   * The times of the packet that a frame comes from, in the file's own precision.
   * @param {VideoFrame} frame
   * @returns {Timing}
   */
  _timing(frame) {
    const found = this._pending.get(frame.timestamp);
    this._pending.delete(frame.timestamp);
    const own = found ?? { time: frame.timestamp / 1e6, duration: (frame.duration ?? 0) / 1e6 };
    if (own.time > this._last) return own;
    // A file that numbers its frames in order of decoding: between the last frame and the next is as near as one can tell.
    const following = Math.min(...[...this._pending.values()].map(({ time }) => time).filter((time) => time > this._last));
    return { time: (this._last + (Number.isFinite(following) ? following : this._last + (own.duration || 0.001))) / 2, duration: own.duration };
  }

  /** Drop the packets that can no longer become a frame: alternate reference frames are never shown. */
  _forget() {
    for (const [key, { time }] of this._pending) if (time <= this._last) this._pending.delete(key);
  }

  /** @param {unknown} error */
  _onError(error) {
    this.decodingError ??= error;
    this._forget();
    this._lose(this._pending.size);
    this._pending.clear();
    this._wake();
  }

  /** @param {number} packets */
  _lose(packets) {
    if (!this.lostPackets) this.firstLoss = this.frames;
    this.lostPackets += packets;
  }

  /** @returns {Promise<void>} resolved when anything has changed */
  _change() {
    return new Promise((resolve) => this._sleepers.push(resolve));
  }

  _wake() {
    for (const resolve of this._sleepers.splice(0)) resolve();
  }
}
