/** What a file is by its first bytes: for sentences about files that cannot be opened. */

/** @typedef {{kind: "container" | "audio" | "other" | "mp4" | "none", name: string}} Look */

/** Longest prefix first where two begin alike; "?" stands for any byte. @type {[string, Look["kind"], string][]} */
const SIGNATURES = [
  ["RIFF????AVI ", "container", "AVI"],
  ["RIFF????WAVE", "audio", "WAV"],
  ["RIFF????WEBP", "other", "a WebP picture"],
  ["FLV\x01", "container", "Flash Video (FLV)"],
  ["0&\xb2u\x8ef\xcf\x11", "container", "Windows Media (WMV, ASF)"],
  [".RMF", "container", "RealMedia"],
  ["\0\0\x01\xba", "container", "MPEG program stream (MPG, VOB)"],
  ["\0\0\x01\xb3", "container", "bare MPEG video"],
  ["\0\0\0\x01", "container", "bare H.264 or H.265 video"],
  ["DKIF", "container", "IVF"],
  ["YUV4MPEG2", "container", "Y4M"],
  ["\x06\x0e+4\x02\x05\x01\x01", "container", "MXF"],
  ["OggS", "container", "Ogg"],
  ["#EXTM3U", "container", "HLS playlist (M3U8)"],
  ["????ftyp", "mp4", "MP4"],
  ["????moov", "mp4", "MP4"],
  ["????mdat", "mp4", "MP4"],
  ["????wide", "mp4", "MP4"],
  ["ID3", "audio", "MP3"],
  ["\xff\xfb", "audio", "MP3"],
  ["\xff\xf3", "audio", "MP3"],
  ["\xff\xf1", "audio", "AAC"],
  ["\xff\xf9", "audio", "AAC"],
  ["fLaC", "audio", "FLAC"],
  ["FORM????AIF", "audio", "AIFF"],
  ["\x89PNG", "other", "a PNG picture"],
  ["GIF8", "other", "a GIF picture"],
  ["\xff\xd8\xff", "other", "a JPEG picture"],
  ["%PDF", "other", "a PDF document"],
  ["PK\x03\x04", "other", "a ZIP archive"],
  ["\x1f\x8b", "other", "a gzip archive"],
  ["7z\xbc\xaf", "other", "a 7z archive"],
];

const SAMPLE = 512;

/**
 * @param {Blob} blob
 * @returns {Promise<Look>}
 */
export async function look(blob) {
  const bytes = new Uint8Array(await blob.slice(0, SAMPLE).arrayBuffer());
  for (const [signature, kind, name] of SIGNATURES) if (begins(bytes, signature)) return { kind, name };
  return isText(bytes) ? { kind: "other", name: "text" } : { kind: "none", name: "" };
}

/**
 * @param {Uint8Array} bytes
 * @param {string} signature
 */
function begins(bytes, signature) {
  if (bytes.length < signature.length) return false;
  return [...signature].every((mark, i) => mark === "?" || mark.charCodeAt(0) === bytes[i]);
}

/** @param {Uint8Array} bytes */
function isText(bytes) {
  if (bytes.some((byte) => byte < 32 && byte !== 9 && byte !== 10 && byte !== 12 && byte !== 13)) return false;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true }); // stream: the sample may end inside a character
    return true;
  } catch {
    return false;
  }
}
