/** LICENSES.txt: what the page is made of besides our own code, and under which terms. */

import { readFile, readdir } from "node:fs/promises";
import path from "node:path";

const LICENCE_FILE = /^(licen[cs]e|copying|notice)/i;
const RULE = "=".repeat(100);

/** What packages do not carry themselves. @type {Record<string, string>} */
const NOTES = {
  "onnxruntime-web": `MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR
ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH
THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

The libraries compiled into it are named at https://github.com/microsoft/onnxruntime/blob/main/ThirdPartyNotices.txt`,
  pyodide: `Mozilla Public License 2.0: https://mozilla.org/MPL/2.0/ (its text is under mediabunny). Unmodified; the source is at the address above.
It contains CPython (Python Software Foundation License 2.0, https://docs.python.org/3/license.html) and the libraries that CPython names there.`,
};

/**
 * @param {string} modules the node_modules folder
 * @param {Iterable<string>} names of packages; each is listed once
 */
export async function licences(modules, names) {
  const sections = await Promise.all([...new Set(names)].sort().map((name) => section(path.join(modules, name))));
  const head = "The page of autogaze-web is under the Apache License 2.0. It is delivered together with these packages, unmodified:\n";
  return [head, ...sections].join(`\n${RULE}\n`) + "\n";
}

/** @param {string} folder of one package */
async function section(folder) {
  const { name, version, license, homepage, repository } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
  const address = (homepage ?? repository?.url ?? repository ?? "").replace(/^git\+/, "");
  const files = (await readdir(folder)).filter((file) => LICENCE_FILE.test(file)).sort();
  const texts = await Promise.all(files.map((file) => readFile(path.join(folder, file), "utf8")));
  if (NOTES[name]) texts.push(NOTES[name]);
  if (!texts.length) throw new Error(`${name} ${version} (${license}) comes without a licence text: add it to NOTES in licences.mjs.`);
  return `${name} ${version} · ${license} · ${address}\n\n${texts.map((text) => text.trim()).join("\n\n")}`;
}
