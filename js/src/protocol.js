/**
 * What the server must know too: a test on the Python side compares each line.
 * One `export const NAME = "value";` a line, so that a plain pattern can read it.
 */

/** Request: the cursor, as conditional GET spells it. */
export const IF_NONE_MATCH = "If-None-Match";
export const IF_MODIFIED_SINCE = "If-Modified-Since";

/** Answer: the position after the message, or where the poll waited. */
export const ETAG = "ETag";
export const LAST_MODIFIED = "Last-Modified";
/** Carries `etag=...` too, for a page on another origin that may not read ETag. */
export const CACHE_CONTROL = "Cache-Control";
/** Messages after the cursor have left the store. */
export const GAP = "X-Push-Gap";
export const RETRY_AFTER = "Retry-After";
/** Answer to OPTIONS: where many channels come over one connection. */
export const MULTIPLEX = "X-Push-Multiplex";
