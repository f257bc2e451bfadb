/** Files that come with the page and are fetched from where it is served. */

/** @returns {Promise<import("./settings.js").Description>} every setting, as Python describes it */
export async function description() {
  return (await fetched("controls.json")).json();
}

/** @returns {Promise<File>} a clip to try the page with */
export async function sampleClip() {
  const clip = await (await fetched("sample.webm")).blob();
  return new File([clip], "sample.webm", { type: "video/webm" });
}

/** @param {string} name */
async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}
