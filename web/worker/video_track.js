/** Find the video track of a file and learn what can be known about it without decoding. */

import { BlobSource, EncodedPacketSink, Input, MATROSKA, MP4, MPEG_TS, OGG, QTFF, UnsupportedInputFormatError, WEBM } from "mediabunny";
import { readBoxes } from "./video_boxes.js";
import { codecName, decoderName } from "./video_codecs.js";
import { audioOnly, emptyFile, encrypted, endsAtOnce, noIndex, noTracks, noWebCodecs, notVideo } from "./video_faults.js";
import { undecodable, unreadable, unsupportedContainer } from "./video_faults.js";
import { mended } from "./video_mend.js";
import { look } from "./video_sniff.js";
import { VideoFault } from "./faults.js";

/** @typedef {import("mediabunny").InputVideoTrack} InputVideoTrack */
/** @typedef {import("mediabunny").EncodedPacket} EncodedPacket */
/** @typedef {import("../shared/messages.js").VideoInfo} VideoInfo */
/** @typedef {import("./video_boxes.js").Edit} Edit */

/**
 * @typedef {object} Track
 * @property {Input} input
 * @property {InputVideoTrack} track
 * @property {VideoDecoderConfig} config
 * @property {{matrix: string | null, fullRange: boolean | null}} colour as the container or the codec's header declare it; a
 *   VideoFrame is no witness, Chromium calls undeclared H.264 BT.709
 * @property {0 | 90 | 180 | 270} rotation clockwise degrees
 * @property {boolean} mirrored
 * @property {VideoInfo} info width and height are as coded until the first frame is decoded
 * @property {number | null} announced when the file says that it ends, on its own clock; null where it does not, or where that may be its sound
 * @property {(time: number) => boolean} shows whether a frame at this time is meant to be seen
 * @property {boolean} transparent whether its packets may carry a second picture, of how opaque the first is
 * @property {string[]} warnings
 */

const FORMATS = [MP4, QTFF, WEBM, MATROSKA, MPEG_TS, OGG]; // OGG for its sound: "only audio" says more than "not a video"
const INDEX_ONLY = { metadataOnly: true };
const HALF_TICK = 1e-6; // seconds; clocks of video are coarser
const PROBED_PACKETS = 256;
const MAX_FPS = 1000; // above this the file names its clock, not a frame rate
const DEFAULT_FPS = 25;

/**
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<Track>}
 * @throws {VideoFault}
 */
export async function openTrack(blob, name) {
  if (!blob.size) throw emptyFile(name);
  if (typeof VideoDecoder === "undefined") throw noWebCodecs(name);
  const whole = await mended(blob).catch(() => blob); // what cannot be read is told below
  const input = new Input({ source: new BlobSource(whole), formats: FORMATS });
  try {
    const track = await chosenTrack(input, blob, name);
    return await described(input, track, blob, name);
  } catch (error) {
    input.dispose();
    throw error instanceof VideoFault ? error : unreadable(name, error);
  }
}

/**
 * The first video track that this browser decodes.
 * @param {Input} input
 * @param {Blob} blob
 * @param {string} name
 */
async function chosenTrack(input, blob, name) {
  const tracks = await videoTracks(input, blob, name);
  for (const track of tracks) if (await track.canDecode()) return track;
  const id = await tracks[0].getInternalCodecId();
  throw id === "encv" ? encrypted(name) : undecodable({ name, codec: codecName(await tracks[0].getCodec(), id) });
}

/**
 * @param {Input} input
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<InputVideoTrack[]>} at least one
 */
async function videoTracks(input, blob, name) {
  let tracks;
  try {
    tracks = await input.getTracks();
  } catch (error) {
    throw await refusal(blob, name, error);
  }
  const pictures = tracks.filter((track) => track.isVideoTrack());
  if (pictures.length) return pictures;
  const sounds = await Promise.all(tracks.map(async (track) => codecName(await track.getCodec(), await track.getInternalCodecId())));
  if (sounds.length) throw audioOnly(name, sounds);
  const format = await input.getFormat();
  if (format === MPEG_TS) throw undecodable({ name, codec: "a codec that could not be named" });
  if (format === OGG) throw unsupportedContainer(name, "Ogg");
  throw isMp4(format) && !(await readBoxes(blob)).hasIndex ? noIndex(name) : noTracks(name);
}

/**
 * Why a file could not be opened.
 * @param {Blob} blob
 * @param {string} name
 * @param {unknown} error
 */
async function refusal(blob, name, error) {
  if (error instanceof DOMException) return unreadable(name, error);
  const { kind, name: what } = await look(blob);
  if (kind === "mp4") return noIndex(name);
  if (!(error instanceof UnsupportedInputFormatError)) return unreadable(name, error);
  if (kind === "container") return unsupportedContainer(name, what);
  if (kind === "audio") return audioOnly(name, [what]);
  return notVideo(name, what || null);
}

/**
 * @param {Input} input
 * @param {InputVideoTrack} track
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<Track>}
 */
async function described(input, track, blob, name) {
  const config = await track.getDecoderConfig();
  if (!config) throw endsAtOnce(name);
  const colour = { matrix: config.colorSpace?.matrix ?? null, fullRange: config.colorSpace?.fullRange ?? null };
  const format = await input.getFormat();
  const edit = isMp4(format) ? (await readBoxes(blob)).edits.get(track.id) : undefined;
  const end = await endOf(track, edit);
  const first = await track.getFirstTimestamp();
  const duration = end === null ? null : end - Math.max(first, edit?.start ?? first);
  const shows = (/** @type {number} */ time) => !edit || (time > edit.start - HALF_TICK && time < edit.end - HALF_TICK);
  const frames = isMp4(format) ? await countOf(track, shows, edit) : null;
  const tracks = await input.getTracks();
  return {
    input,
    track,
    config: { ...config, colorSpace: plainColour(colour) },
    colour,
    rotation: await track.getRotation(),
    mirrored: await track.getFlip(),
    info: {
      name,
      codec: decoderName(await track.getCodec()),
      width: await track.getCodedWidth(),
      height: await track.getCodedHeight(),
      fps: await rateOf(track, frames, duration),
      frames,
      duration,
      bytes: blob.size,
    },
    announced: isMp4(format) || tracks.length === 1 ? end : null,
    shows,
    transparent: await track.canBeTransparent(),
    warnings: edit && edit.parts > 1 ? [`${name} is edited from several parts of its own; only the first is shown.`] : [],
  };
}

/**
 * A colour space for which the browser's own conversion to RGB is the matrix and nothing else, BT.601 where none is declared, as the
 * command line has it: sRGB in, sRGB out. A partial one would make Chromium forget the rest.
 * @param {Track["colour"]} colour
 * @returns {VideoColorSpaceInit}
 */
function plainColour({ matrix, fullRange }) {
  const known = /** @type {VideoMatrixCoefficients} */ (matrix ?? "smpte170m");
  return { primaries: "bt709", transfer: "iec61966-2-1", matrix: known, fullRange: fullRange ?? false };
}

/** @param {import("mediabunny").InputFormat} format */
function isMp4(format) {
  return format === MP4 || format === QTFF;
}

/**
 * When the track ends by its container, on its own clock.
 * @param {InputVideoTrack} track
 * @param {Edit | undefined} edit
 */
async function endOf(track, edit) {
  if (edit && edit.end !== Infinity) return edit.end;
  return track.getDurationFromMetadata();
}

/**
 * Frames that an MP4 shows, by its index, which numbers them; null where it is in fragments.
 * @param {InputVideoTrack} track
 * @param {(time: number) => boolean} shows
 * @param {Edit | undefined} edit
 */
async function countOf(track, shows, edit) {
  const packets = new EncodedPacketSink(track);
  const first = await packets.getFirstPacket(INDEX_ONLY);
  if (first?.sequenceNumber !== 0) return null;
  let last = await packets.getPacket(Infinity, INDEX_ONLY); // the last to be shown; with B-frames others are decoded after it
  if (!last) return null;
  if (edit && !(shows(first.timestamp) && shows(last.timestamp))) return countShown(packets, first, shows);
  for (let next = await packets.getNextPacket(last, INDEX_ONLY); next; next = await packets.getNextPacket(last, INDEX_ONLY)) last = next;
  return last.sequenceNumber + 1;
}

/**
 * @param {EncodedPacketSink} packets
 * @param {EncodedPacket} first
 * @param {(time: number) => boolean} shows
 */
async function countShown(packets, first, shows) {
  let frames = 0;
  for await (const packet of packets.packets(first, undefined, INDEX_ONLY)) if (shows(packet.timestamp)) frames++;
  return frames;
}

/**
 * @param {InputVideoTrack} track
 * @param {number | null} frames
 * @param {number | null} duration
 */
async function rateOf(track, frames, duration) {
  const metrics = await track.computeFrameRateMetrics({ targetPacketCount: PROBED_PACKETS });
  if (metrics.probedPacketCount < 2) return DEFAULT_FPS;
  const rates = [metrics.frameRateIsConstant ? metrics.bestGuessFrameRate : 0, frames && duration ? frames / duration : 0, metrics.averageFrameRate];
  return rates.find((rate) => rate > 0 && rate <= MAX_FPS) ?? DEFAULT_FPS;
}
