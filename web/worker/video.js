/**
 * Open a video and read its frames one at a time: mediabunny takes the container apart, WebCodecs decodes.
 *
 * Memory does not grow with the length of the video, but for 8 bytes a frame: its time.
 */

import { EncodedPacketSink, LogLevel, Logging } from "mediabunny";
import { FrameStream } from "./video_frames.js";
import { PlanePool } from "./video_planes.js";
import { openTrack } from "./video_track.js";
import { printable } from "./faults.js";

export { VideoFault } from "./faults.js";
export { liveFrames } from "./video_decoder.js";

/** @typedef {import("../shared/messages.js").VideoInfo} VideoInfo */
/** @typedef {import("./video_track.js").Track} Track */
/** @typedef {import("./video_frames.js").DecodedFrame} DecodedFrame */

Logging.level = LogLevel.Silent; // what goes wrong is told on the page

/**
 * Open a video and decode its first frame to learn what it is.
 * @param {Blob} blob
 * @param {string} name for messages; meaning is taken from the contents only
 * @returns {Promise<Video>}
 * @throws {import("./faults.js").VideoFault}
 */
export async function openVideo(blob, name) {
  const track = await openTrack(blob, printable(name));
  const video = new Video(track);
  try {
    await video.readFirstFrame();
  } catch (error) {
    video.close();
    throw error;
  }
  return video;
}

/** A video as `openVideo` gives it; call `close()` when done with it. */
export class Video {
  /** @param {Track} track */
  constructor(track) {
    this.track = track;
    this.packets = new EncodedPacketSink(track.track);
    this.timeline = new Timeline();
    this.pool = new PlanePool();
    /** @type {VideoInfo} */
    this.info = { ...track.info };
    /** @type {Set<string>} */
    this._warnings = new Set(track.warnings);
    /** @type {Set<FrameStream>} */
    this.streams = new Set();
    /** @type {FrameStream | null} a stream at frame 0 that waits for its reader */
    this._first = null;
    this.closed = false;
  }

  /** What a person should know about this file; complete when its last frame has been read. */
  get warnings() {
    return [...this._warnings];
  }

  /** @param {string} sentence */
  warn(sentence) {
    this._warnings.add(sentence);
  }

  /** Frames known to exist so far: the index of the furthest one decoded, plus one. */
  get seen() {
    return this.timeline.length;
  }

  /**
   * Decoded frames from the given index on, in order of presentation; several streams may be open at once.
   * @param {number} [from] counted from the start of the video
   * @param {AbortSignal} [signal] ends the stream: `next()` then gives null
   * @returns {FrameStream}
   */
  frames(from = 0, signal) {
    const waiting = this._first;
    this._first = null;
    if (waiting && from === 0) return waiting.heed(signal);
    void waiting?.close();
    return new FrameStream(this, from).heed(signal);
  }

  async readFirstFrame() {
    const stream = this.frames(0);
    const size = await stream.firstSize();
    this.info.width = size.width;
    this.info.height = size.height;
    this._first = stream;
  }

  /** End every stream and let go of the file. */
  close() {
    if (this.closed) return;
    this.closed = true;
    for (const stream of [...this.streams]) void stream.close();
    this._first = null;
    this.pool.clear();
    this.track.input.dispose();
  }
}

/** Times of the frames decoded so far, ascending: as the file has them, in seconds. */
export class Timeline {
  constructor() {
    this._times = new Float64Array(1024);
    this.length = 0;
  }

  /** @param {number} index */
  at(index) {
    return this._times[index];
  }

  /** @param {number} time */
  push(time) {
    if (this.length === this._times.length) {
      const longer = new Float64Array(2 * this.length);
      longer.set(this._times);
      this._times = longer;
    }
    this._times[this.length++] = time;
  }

  /**
   * The index of the first frame at or after this time; `length` where there is none.
   * @param {number} time
   */
  search(time) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this._times[middle] < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
