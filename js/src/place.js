/**
 * Where a reader stands in a channel, and what an entry means to it. Pure.
 *
 * Several readers (the tabs of an origin) share one wire, and each has its own cursor:
 * the id of the last message it has seen, null before the first. An entry says after
 * which id the wire stood when it came; `after` null means that the server chose where
 * to begin. So a reader needs nobody's word for it that it has missed nothing.
 */

/** @typedef {string | null} Position */

/**
 * - `news`: the next thing after the cursor
 * - `seen`: nothing new to this reader
 * - `hole`: there may be messages between the cursor and this entry
 * @param {Position} cursor
 * @param {Position} after
 * @param {string} id
 * @returns {"news" | "seen" | "hole"}
 */
export function judge(cursor, after, id) {
  if (cursor === null) return after === null ? "news" : "seen";
  if (after !== null && !isAfter(after, cursor)) {
    // An id below the one that was asked for: the server takes that one for a
    // cursor from the future, and has told where the channel really stands.
    return isAfter(id, cursor) || isAfter(after, id) ? "news" : "seen";
  }
  return isAfter(id, cursor) ? "hole" : "seen";
}

/**
 * Where the wire must stand so that no reader misses anything.
 * @param {Iterable<Position>} cursors
 * @returns {Position}
 */
export function earliest(cursors) {
  /** @type {Position | undefined} */
  let found;
  for (const cursor of cursors) {
    if (cursor === null) return null;
    if (found === undefined || isAfter(/** @type {string} */ (found), cursor)) {
      found = cursor;
    }
  }
  return found ?? null;
}

/**
 * Whether one `<milliseconds>-<n>` comes after another.
 * @param {string} id
 * @param {string} other
 */
export function isAfter(id, other) {
  const [time, count] = parts(id);
  const [otherTime, otherCount] = parts(other);
  return time > otherTime || (time === otherTime && count > otherCount);
}

/**
 * @param {string} id
 * @returns {[number, number]}
 */
function parts(id) {
  const [time, count] = id.split("-");
  return [Number(time), Number(count ?? 0)];
}
