import {
  CACHE_CONTROL,
  ETAG,
  IF_MODIFIED_SINCE,
  IF_NONE_MATCH,
  LAST_MODIFIED,
} from "./protocol.js";

/**
 * A position in a channel, kept exactly as the server wrote it.
 * @typedef {{
 *   readonly etag: string | null,
 *   readonly lastModified: string | null,
 * }} Cursor
 */

/**
 * @typedef {{ get(name: string): string | null }} HeadersLike
 */

/**
 * Before the first answer. Sent as no header at all: that starts with the oldest
 * message kept, and spares a page on another origin its first CORS preflight.
 * @type {Cursor}
 */
export const NO_CURSOR = Object.freeze({ etag: null, lastModified: null });

/**
 * The headers that ask for what comes after `cursor`.
 * @param {Cursor} cursor
 * @returns {Record<string, string>}
 */
export function requestHeaders({ etag, lastModified }) {
  return {
    ...(etag === null ? {} : { [IF_NONE_MATCH]: etag }),
    ...(lastModified === null ? {} : { [IF_MODIFIED_SINCE]: lastModified }),
  };
}

/**
 * The cursor an answer carries, or `cursor` when it carries none. The two halves
 * belong together: a tag of one answer never travels with the date of another.
 * @param {Cursor} cursor
 * @param {HeadersLike} headers
 * @returns {Cursor}
 */
export function cursorAfter(cursor, headers) {
  const etag = headers.get(ETAG) ?? etagIn(headers.get(CACHE_CONTROL));
  const lastModified = headers.get(LAST_MODIFIED);
  return etag === null && lastModified === null ? cursor : { etag, lastModified };
}

/**
 * Whether a 200 is a message after `cursor`. A push location always dates its
 * messages (and any page may read Last-Modified); a login page, reached by a
 * redirect, does not. The same cursor twice would be the same message twice.
 * Without this test such a page would be fetched in an endless tight loop.
 * @param {Cursor} cursor
 * @param {HeadersLike} headers
 */
export function isNews(cursor, headers) {
  const next = cursorAfter(cursor, headers);
  return (
    next.lastModified !== null &&
    (next.etag !== cursor.etag || next.lastModified !== cursor.lastModified)
  );
}

/**
 * The id in a cursor of this server: what `since` is elsewhere on the wire. null before
 * the first answer, undefined for a cursor that another server wrote.
 * @param {Cursor} cursor
 */
export function idOf({ etag, lastModified }) {
  if (etag === null) return lastModified === null ? null : undefined;
  return /^(?:W\/)?"(\d+-\d+)"$/.exec(etag)?.[1];
}

/** @param {string | null} cacheControl */
function etagIn(cacheControl) {
  const found = /(?:^|[\s,])etag=("[^"]*"|[^\s,]+)/i.exec(cacheControl ?? "");
  return found?.[1] ?? null;
}
