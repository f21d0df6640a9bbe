/**
 * All that the client needs of its surroundings. The types are the least that is
 * needed, so that a test or another runtime can pass its own.
 */

/**
 * @typedef {"include" | "omit" | "same-origin"} CredentialsMode
 *
 * @typedef {{
 *   status: number,
 *   headers: import("./cursor.js").HeadersLike,
 *   text(): Promise<string>,
 * }} ResponseLike
 *
 * @typedef {{
 *   headers: Record<string, string>,
 *   credentials: CredentialsMode,
 *   cache: "no-store",
 *   signal: AbortSignal,
 * }} RequestOptions
 *
 * @typedef {unknown} Timer What setTimeout returned.
 *
 * @typedef {{
 *   fetch(url: string, options: RequestOptions): Promise<ResponseLike>,
 *   AbortController: new () => AbortController,
 *   setTimeout(fn: () => void, delay: number): Timer,
 *   clearTimeout(timer: Timer): void,
 *   random(): number,
 *   now(): number,
 *   console: Pick<Console, "warn" | "error">,
 *   addEventListener(
 *     type: "beforeunload" | "pagehide" | "pageshow",
 *     fn: (event: { persisted?: boolean }) => void,
 *   ): void,
 *   baseURI(): string,
 * }} Environment `now` is the time of day in milliseconds; `baseURI` what relative
 *   URLs of the page are relative to.
 */

/**
 * The environment of a page. Looks each function up when it is called, so that
 * what a page or its tests put in place of fetch later on is used.
 * @param {Window & typeof globalThis} window
 * @returns {Environment}
 */
export function browserEnvironment(window) {
  return {
    fetch: (url, options) => window.fetch(url, options),
    AbortController: window.AbortController,
    setTimeout: (fn, delay) => window.setTimeout(fn, delay),
    clearTimeout: (timer) => window.clearTimeout(/** @type {number} */ (timer)),
    random: () => Math.random(),
    now: () => Date.now(),
    console: window.console,
    addEventListener: (type, fn) =>
      window.addEventListener(type, (event) =>
        fn(/** @type {PageTransitionEvent} */ (event)),
      ),
    baseURI: () => window.document.baseURI,
  };
}
