/**
 * How channels are named: by id, or by the path of their URL, as the multiplex location
 * has both. Pure.
 */

const ID = "id:";
const URL = "url:";

/**
 * One text for either.
 * @param {{ channel?: string | undefined, url?: string | undefined }} name
 */
export function keyOf({ channel, url }) {
  return channel === undefined ? URL + url : ID + channel;
}

/**
 * What asks for these channels.
 * @param {(readonly [string, import("./attempt.js").Terms])[]} terms By key.
 * @returns {import("./attempt.js").Channels}
 */
export function spell(terms) {
  // fromEntries: a channel may be called "__proto__".
  return {
    channels: Object.fromEntries(within(ID, terms)),
    urls: Object.fromEntries(within(URL, terms)),
  };
}

/**
 * What leaves these channels.
 * @param {string[]} keys
 */
export function names(keys) {
  const pairs = keys.map((key) => /** @type {const} */ ([key, null]));
  /** @param {string} kind */
  const of = (kind) => within(kind, pairs).map(([name]) => name);
  return { channels: of(ID), urls: of(URL) };
}

/**
 * @template T
 * @param {string} kind
 * @param {(readonly [string, T])[]} pairs
 */
function within(kind, pairs) {
  return pairs
    .filter(([key]) => key.startsWith(kind))
    .map(([key, value]) => /** @type {const} */ ([key.slice(kind.length), value]));
}
