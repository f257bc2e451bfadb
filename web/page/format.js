/** Numbers as people read them. */

const NONE = "–";

/**
 * "13.1 MB"
 * @param {number} count
 */
export function bytes(count) {
  if (count < 1000) return `${count} B`;
  const unit = count < 1e6 ? "kB" : count < 1e9 ? "MB" : "GB";
  const value = count / { kB: 1e3, MB: 1e6, GB: 1e9 }[unit];
  return `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
}

/**
 * "12.3 %"
 * @param {number | null | undefined} ratio
 */
export function percent(ratio) {
  return ratio === null || ratio === undefined || Number.isNaN(ratio) ? NONE : `${(ratio * 100).toFixed(1)} %`;
}

/**
 * "31.24 dB"; "∞ dB" for a picture that is the same as its input.
 * @param {number | null | undefined} value
 */
export function decibels(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  return value === Infinity ? "∞ dB" : `${value.toFixed(2)} dB`;
}

/**
 * "4.2", "63"
 * @param {number | null} rate
 */
export function perSecond(rate) {
  if (rate === null || !Number.isFinite(rate)) return NONE;
  return rate < 10 ? rate.toFixed(1) : rate.toFixed(0);
}

/**
 * "9 s", "2 min 05 s", "1 h 12 min"
 * @param {number} seconds
 */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/**
 * "1:02.40", a place in a video
 * @param {number} seconds
 */
export function clock(seconds) {
  const hundredths = Math.max(0, Math.round(seconds * 100));
  const rest = String(hundredths % 6000).padStart(4, "0");
  const minutes = Math.floor(hundredths / 6000);
  const text = `${rest.slice(0, 2)}.${rest.slice(2)}`;
  return minutes < 60 ? `${minutes}:${text}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${text}`;
}

/**
 * "12,048"
 * @param {number} value
 */
export function whole(value) {
  return value.toLocaleString("en");
}

/**
 * "1 frame", "12 frames"
 * @param {number} value
 * @param {string} noun
 */
export function count(value, noun) {
  return `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;
}
