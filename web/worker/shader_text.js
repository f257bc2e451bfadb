/** Shaders as text: what one is known by, and what is written out before it is compiled. */

/** The model's sizes in a shader of ONNX Runtime's. */
const SIZES = /\bconst (head_size|num_heads) : u32 = (\d+);/g;

/** What a shader is known by: a hash of its text, whatever the model's sizes are. @param {string} code */
export function fingerprint(code) {
  const text = code.replace(SIZES, "const $1 : u32 = 0;");
  let hash = 0;
  for (let index = 0; index < text.length; index += 1) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** The sizes that a shader says, by name. @param {string} code @returns {Record<string, number>} */
export function sizesIn(code) {
  return Object.fromEntries([...code.matchAll(SIZES)].map(([, name, number]) => [name, Number(number)]));
}

/**
 * A shader with numbers for names, and "@each" written out: drivers keep an array in registers only where they unroll the loop over it, so
 * there are names instead. "@each i 3: let a$i = b{2 * $i};" becomes three lines, the last "let a2 = b4;".
 * @param {string} code @param {Record<string, number>} numbers
 */
export function filled(code, numbers) {
  const named = Object.entries(numbers).reduce((text, [name, number]) => text.replaceAll(name, String(number)), code);
  const each = /^( *)@each (\w) (\w+): (.*)$/m;
  let text = named;
  for (let found = each.exec(text); found; found = each.exec(text)) {
    const [line, space, index, count, rest] = found;
    const lines = Array.from({ length: size(named, count) }, (_, i) => space + rest.replaceAll(`$${index}`, String(i)));
    text = text.replace(line, () => lines.join("\n"));
  }
  return text.replace(/\{([\d *+]+)\}/g, (_, sum) => String(value(sum)));
}

/** What a number is, or a constant of a shader. @param {string} code @param {string} name @returns {number} */
function size(code, name) {
  const [, sum] = new RegExp(`const ${name}: u32 = ([^;]+);`).exec(code) ?? ["", name];
  return value(sum.replace(/[A-Za-z_]\w*/g, (other) => String(size(code, other))));
}

/** @param {string} sum of numbers with "+", "*" and "/" @returns {number} */
function value(sum) {
  const quotient = (/** @type {string} */ text) => text.split("/").map(Number).reduce((all, divisor) => all / divisor);
  const product = (/** @type {string} */ text) => text.split("*").map(quotient).reduce((all, factor) => all * factor);
  return sum.split("+").map(product).reduce((all, term) => all + term);
}
