/** What can be wrong with a video file, each in its own sentences. Names come in printable. */

import { VideoFault } from "./faults.js";

/** @typedef {{name: string, codec: string}} Named */

const CONVERT = "ffmpeg -i INPUT -c:v libvpx-vp9 -crf 30 -b:v 0 output.webm";

/** @param {string} name */
export function emptyFile(name) {
  return new VideoFault({
    kind: "empty-file",
    title: "This file is empty.",
    found: `${name} has 0 bytes.`,
    attempt: "Copy or download it again.",
  });
}

/**
 * @param {string} name
 * @param {unknown} cause
 */
export function unreadable(name, cause) {
  const gone = cause instanceof DOMException && (cause.name === "NotReadableError" || cause.name === "NotFoundError");
  if (gone) {
    return new VideoFault(
      {
        kind: "unreadable",
        title: "This file cannot be read.",
        found: `${name} was moved, changed or deleted after it was chosen, or you may not read it.`,
        attempt: "Choose it again; if that does not help, check its permissions or copy it to another folder.",
      },
      cause,
    );
  }
  return new VideoFault(
    {
      kind: "truncated",
      title: "This video is damaged.",
      found: `${name} cannot be taken apart: its contents contradict themselves. It was probably cut off.`,
      attempt: "Copy, download or record it again.",
    },
    cause,
  );
}

/**
 * @param {string} name
 * @param {string | null} looksLike what the first bytes say: "text", "a PNG picture"
 */
export function notVideo(name, looksLike) {
  return new VideoFault({
    kind: "not-video",
    title: "This is not a video.",
    found: `${name} ${looksLike ? `is ${looksLike}, whatever its name says` : "matches no format that can be read"}.`,
    attempt: "Try an MP4, MOV, WebM or MKV file.",
  });
}

/**
 * @param {string} name
 * @param {string} container "AVI"
 */
export function unsupportedContainer(name, container) {
  return new VideoFault({
    kind: "container",
    title: "Browsers cannot open this kind of file.",
    found: `${name} is in the ${container} format.`,
    attempt: `Convert it to WebM or MP4, for example with ${CONVERT} — or open it with the command line: autogaze-web run.`,
  });
}

/** @param {string} name */
export function noIndex(name) {
  return new VideoFault({
    kind: "truncated",
    title: "This video was cut off.",
    found: `${name} is an MP4 or MOV file without a readable index (its "moov" part), which is usually written last.`,
    attempt: "Copy, download or record it again.",
  });
}

/** @param {string} name */
export function endsAtOnce(name) {
  return new VideoFault({
    kind: "truncated",
    title: "This video was cut off.",
    found: `${name} ends before its first frame.`,
    attempt: "Copy or download it again.",
  });
}

/**
 * @param {string} name
 * @param {string[]} sounds codecs of its audio tracks
 */
export function audioOnly(name, sounds) {
  return new VideoFault({
    kind: "audio-only",
    title: "There is no picture in this file.",
    found: `${name} has no video track, only audio (${sounds.join(", ")}).`,
    attempt: "Choose a file with moving pictures.",
  });
}

/** @param {string} name */
export function noTracks(name) {
  return new VideoFault({
    kind: "empty",
    title: "There is nothing to see in this file.",
    found: `${name} has no video track that can be recognised, and no audio either.`,
    attempt: `Choose a file with moving pictures. If it plays elsewhere, convert it, for example with ${CONVERT}`,
  });
}

/**
 * @param {Named} named codec as people know it
 */
export function undecodable({ name, codec }) {
  return new VideoFault({
    kind: "codec",
    title: "This browser cannot decode this video.",
    found: `${name} is compressed with ${codec}, which this browser does not decode.`,
    attempt: `Convert it to VP9 or H.264, for example with ${CONVERT} — or open it with the command line: autogaze-web run.`,
  });
}

/** @param {string} name */
export function encrypted(name) {
  return new VideoFault({
    kind: "codec",
    title: "This video is protected.",
    found: `${name} is encrypted (DRM), and only its own player has the key.`,
    attempt: "Choose a video without copy protection.",
  });
}

/** @param {string} name */
export function noWebCodecs(name) {
  const insecure = !globalThis.isSecureContext;
  return new VideoFault({
    kind: "no-webcodecs",
    title: "This browser cannot decode video for a page.",
    found: insecure
      ? `The page was not opened from a secure address, so the browser keeps WebCodecs from it; ${name} was not read.`
      : `It has no WebCodecs (VideoDecoder); ${name} was not read.`,
    attempt: insecure
      ? "Open the page at http://127.0.0.1 or http://localhost, or over https."
      : "Use Chrome or Edge 94, Safari 16.4, Firefox 130 or newer — or the command line: autogaze-web run.",
  });
}

/** @param {Named} named */
export function noKeyFrame({ name, codec }) {
  return new VideoFault({
    kind: "no-key-frame",
    title: "This video has no beginning.",
    found: `${name} has a video track (${codec}) without a single key frame, so no frame of it can be decoded.`,
    attempt: "Cut or export it again so that it starts with a key frame.",
  });
}

/** @param {Named} named */
export function noFrames({ name, codec }) {
  return new VideoFault({
    kind: "empty",
    title: "This video has no frames.",
    found: `${name} has a video track (${codec}), but the track holds no frame.`,
    attempt: "Try another copy of the file.",
  });
}

/**
 * @param {Named} named
 * @param {unknown} cause
 */
export function damagedThroughout({ name, codec }, cause) {
  return new VideoFault(
    {
      kind: "damaged",
      title: "This video is damaged.",
      found: `${name} has a video track (${codec}), but none of it can be decoded: the file is damaged or cut off.`,
      attempt: "Try another copy of the file.",
    },
    cause ?? undefined,
  );
}
