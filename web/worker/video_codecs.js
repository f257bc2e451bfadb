/** Names of codecs: FFmpeg's, which the command line's results use, and those that people know. */

/** Mediabunny's names that differ from FFmpeg's. @type {Record<string, string>} */
const DECODERS = { avc: "h264" };

/** @type {Record<string, string>} */
const KNOWN = {
  avc: "H.264",
  hevc: "HEVC (H.265)",
  vp8: "VP8",
  vp9: "VP9",
  av1: "AV1",
  prores: "Apple ProRes",
  aac: "AAC",
  opus: "Opus",
  vorbis: "Vorbis",
  flac: "FLAC",
  mp3: "MP3",
};

/** By the containers' own names, which are matched from the start. @type {[string, string][]} */
const OWN_NAMES = [
  ["mp4v", "MPEG-4 part 2"],
  ["xvid", "MPEG-4 part 2 (Xvid)"],
  ["divx", "MPEG-4 part 2 (DivX)"],
  ["dx50", "MPEG-4 part 2 (DivX)"],
  ["V_MPEG4/ISO", "MPEG-4 part 2"],
  ["V_MPEG4/MS", "Microsoft MPEG-4"],
  ["V_MPEG2", "MPEG-2"],
  ["V_MPEG1", "MPEG-1"],
  ["mx5", "MPEG-2 (XDCAM)"],
  ["xdv", "MPEG-2 (XDCAM)"],
  ["m2v1", "MPEG-2"],
  ["s263", "H.263"],
  ["h263", "H.263"],
  ["vc-1", "VC-1"],
  ["V_VC1", "VC-1"],
  ["V_PRORES", "Apple ProRes"],
  ["ap", "Apple ProRes"],
  ["AVdn", "DNxHD"],
  ["CFHD", "CineForm"],
  ["jpeg", "Motion JPEG"],
  ["mjp", "Motion JPEG"],
  ["V_MJPEG", "Motion JPEG"],
  ["V_THEORA", "Theora"],
  ["V_FFV1", "FFV1"],
  ["V_MPEGI/ISO/VVC", "VVC (H.266)"],
  ["vvc1", "VVC (H.266)"],
  ["vvi1", "VVC (H.266)"],
  ["hev1", "HEVC (H.265)"],
  ["hvc1", "HEVC (H.265)"],
  ["dvh", "Dolby Vision (HEVC)"],
  ["V_MPEGH/ISO/HEVC", "HEVC (H.265)"],
  ["V_REAL", "RealVideo"],
  ["V_UNCOMPRESSED", "uncompressed video"],
  ["V_MS/VFW", "a Windows codec (Video for Windows)"],
  ["V_QUICKTIME", "an old QuickTime codec"],
  ["SVQ", "Sorenson Video"],
  ["cvid", "Cinepak"],
  ["rle ", "QuickTime Animation"],
  ["dv", "DV"],
  ["2vuy", "uncompressed video"],
  ["yuv2", "uncompressed video"],
  ["v210", "uncompressed video"],
  ["raw ", "uncompressed video"],
];

/**
 * FFmpeg's name of a codec: "h264", "vp9".
 * @param {string | null} codec mediabunny's
 */
export function decoderName(codec) {
  return (codec && DECODERS[codec]) ?? codec ?? "unknown";
}

/**
 * A codec as people know it.
 * @param {string | null} codec mediabunny's name; null where it knows none
 * @param {string | number | Uint8Array | null} id the container's own name
 */
export function codecName(codec, id) {
  if (codec) return KNOWN[codec] ?? codec;
  if (typeof id !== "string" || !/^[\x20-\x7e]{1,32}$/.test(id)) return "an unknown codec";
  return OWN_NAMES.find(([start]) => id.toLowerCase().startsWith(start.toLowerCase()))?.[1] ?? `an unknown codec (“${id.trim()}”)`;
}
