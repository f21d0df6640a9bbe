import { INTERVAL } from "./delays.js";
import { show } from "./show.js";

/** What a page may pass; a TypeError says what is accepted. */

/**
 * @typedef {{
 *   interval?: number,
 *   credentials?: import("./environment.js").CredentialsMode | "auto",
 * }} SubscribeOptions `interval` is the pause in milliseconds between polls of a
 *   location with interval polling; `credentials` as fetch understands it.
 */

const CREDENTIALS = ["auto", "include", "omit", "same-origin"];

/**
 * All of them before any is used: a call with a mistake changes nothing.
 * @param {Record<string, string>} channels
 * @param {string} baseURI
 * @returns {[string, string][]} names and absolute URLs
 */
export function checkedChannels(channels, baseURI) {
  if (typeof channels !== "object" || channels === null || Array.isArray(channels)) {
    throw new TypeError(
      `subscribe: expected an object {name: url, ...}, not ${show(channels)}`,
    );
  }
  return Object.entries(channels).map(([name, url]) => {
    checkName(name);
    return [name, absolute(name, url, baseURI)];
  });
}

/**
 * @param {string} name
 * @param {unknown} url
 * @param {string} baseURI
 */
function absolute(name, url, baseURI) {
  let parsed = null;
  if ((typeof url === "string" && url !== "") || url instanceof URL) {
    try {
      parsed = new URL(url, baseURI);
    } catch {
      // Reported below, together with what parses but cannot be polled.
    }
  }
  // fetch refuses a URL that contains a password.
  if (
    !parsed ||
    !/^https?:$/.test(parsed.protocol) ||
    parsed.username ||
    parsed.password
  ) {
    throw new TypeError(
      `subscribe: the URL of "${name}" must be an http or https URL without user name ` +
        `or one relative to the page, not ${show(url)}`,
    );
  }
  parsed.hash = "";
  return parsed.href;
}

/**
 * @param {SubscribeOptions} options
 */
export function checkedOptions(options) {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(
      `subscribe: the options must be an object {interval, credentials}, not ${show(options)}`,
    );
  }
  const { interval = INTERVAL, credentials = "auto", ...unknown } = options;
  if (Object.keys(unknown).length > 0) {
    throw new TypeError(
      `subscribe: the options are interval and credentials, not ${Object.keys(unknown)}`,
    );
  }
  if (!(typeof interval === "number" && interval > 0 && interval <= 86_400_000)) {
    throw new TypeError(
      `subscribe: interval must be milliseconds above 0, up to one day, not ${show(interval)}`,
    );
  }
  if (!CREDENTIALS.includes(credentials)) {
    throw new TypeError(
      `subscribe: credentials must be one of ${CREDENTIALS.join(", ")}, not ${show(credentials)}`,
    );
  }
  return { interval, credentials: credentials === "auto" ? null : credentials };
}

/** @param {unknown} name */
export function checkName(name) {
  if (typeof name !== "string" || name === "") {
    throw new TypeError(
      `the name of a channel must be a string (the key used in subscribe), not ${show(name)}`,
    );
  }
}

/** @param {unknown} type */
export function checkType(type) {
  if (typeof type !== "string") {
    throw new TypeError(
      `registerProcessor: the type must be a string (the update's "type"), not ${show(type)}`,
    );
  }
}

/**
 * @param {string} caller
 * @param {unknown} fn
 */
export function checkFunction(caller, fn) {
  if (typeof fn !== "function") {
    throw new TypeError(`${caller}: expected a function, not ${show(fn)}`);
  }
}
