/**
 * Whether a poll to another origin carries cookies. Only the server knows: it says
 * `allow_credentials`, or `allow_origin: "*"`, which a browser accepts only without
 * cookies. A page cannot read why it was refused, it just sees no answer. So:
 * "include" first (the user behind the poll should be the one who is logged in),
 * "omit" when that brings nothing, and "include" once more after "omit" worked.
 * Only when that fails too is "omit" kept: a server that was starting up while the
 * page loaded must not leave its users anonymous until the next page.
 */

/** @typedef {import("./environment.js").CredentialsMode} CredentialsMode */

/**
 * One choice per origin, shared by all polls of the page.
 * @typedef {{
 *   modeFor(url: string): CredentialsMode,
 *   answered(url: string, mode: CredentialsMode): void,
 *   failed(url: string, mode: CredentialsMode): boolean,
 * }} Credentials `failed` is told of a poll without an answer, and says whether the
 *   other mode is worth a try at once.
 */

/**
 * @param {() => string} baseURI
 * @returns {Credentials}
 */
export function createCredentials(baseURI) {
  /**
   * @type {Map<string, {
   *   mode: "include" | "omit", omitWorked: boolean, settled: boolean
   * }>}
   */
  const choices = new Map();

  return { modeFor, answered, failed };

  /** @type {Credentials["modeFor"]} */
  function modeFor(url) {
    const { origin } = new URL(url);
    if (origin === new URL(baseURI()).origin) return "same-origin";
    const known = choices.get(origin);
    if (known) return known.mode;
    choices.set(origin, { mode: "include", omitWorked: false, settled: false });
    return "include";
  }

  /** @type {Credentials["answered"]} */
  function answered(url, mode) {
    const choice = open(url, mode);
    if (!choice) return;
    if (mode === "include") {
      choice.settled = true;
    } else {
      choice.omitWorked = true;
      choice.mode = "include";
    }
  }

  /** @type {Credentials["failed"]} */
  function failed(url, mode) {
    const choice = open(url, mode);
    if (!choice) return false;
    if (mode === "omit") {
      choice.mode = "include";
      return false;
    }
    choice.mode = "omit";
    choice.settled = choice.omitWorked;
    return true;
  }

  /**
   * The choice that a poll in `mode` can still tell something about.
   * @param {string} url
   * @param {CredentialsMode} mode
   */
  function open(url, mode) {
    const choice = choices.get(new URL(url).origin);
    return choice && !choice.settled && choice.mode === mode ? choice : null;
  }
}
