/**
 * All that the client needs of its surroundings. The types are the least that is
 * needed, so that a test or another runtime can pass its own.
 */

/**
 * @typedef {"include" | "omit" | "same-origin"} CredentialsMode
 *
 * @typedef {{
 *   read(): Promise<{ done: boolean, value?: Uint8Array | undefined }>,
 * }} ReaderLike
 *
 * @typedef {{
 *   status: number,
 *   headers: import("./cursor.js").HeadersLike,
 *   text(): Promise<string>,
 *   body?: { getReader(): ReaderLike } | null,
 * }} ResponseLike
 *
 * @typedef {{
 *   method?: "POST" | "OPTIONS",
 *   body?: string,
 *   headers: Record<string, string>,
 *   credentials: CredentialsMode,
 *   cache: "no-store",
 *   signal: AbortSignal,
 * }} RequestOptions
 *
 * @typedef {unknown} Timer What setTimeout returned.
 *
 * @typedef {{
 *   send(text: string): void,
 *   close(): void,
 *   onopen: ((event: any) => void) | null,
 *   onmessage: ((event: any) => void) | null,
 *   onclose: ((event: any) => void) | null,
 * }} SocketLike
 *
 * @typedef {{
 *   postMessage(message: unknown): void,
 *   close(): void,
 *   onmessage: ((event: any) => void) | null,
 * }} BroadcastLike
 *
 * @typedef {{
 *   request(
 *     name: string,
 *     options: { signal: AbortSignal } | { steal: true },
 *     fn: () => Promise<void>,
 *   ): Promise<unknown>,
 * }} LocksLike
 *
 * @typedef {"beforeunload" | "pagehide" | "pageshow" | "visibilitychange" | "freeze"
 *   | "resume" | "online" | "offline"} PageEvent
 *
 * @typedef {{
 *   fetch(url: string, options: RequestOptions): Promise<ResponseLike>,
 *   AbortController: new () => AbortController,
 *   openSocket: ((url: string) => SocketLike) | null,
 *   openBroadcast: ((name: string) => BroadcastLike) | null,
 *   locks: LocksLike | null,
 *   storage(): Pick<Storage, "getItem" | "setItem"> | null,
 *   setTimeout(fn: () => void, delay: number): Timer,
 *   clearTimeout(timer: Timer): void,
 *   random(): number,
 *   now(): number,
 *   console: Pick<Console, "warn" | "error">,
 *   addEventListener(type: PageEvent, fn: () => void): () => void,
 *   isHidden(): boolean,
 *   isOnline(): boolean,
 *   baseURI(): string,
 * }} Environment `now` is the time of day in milliseconds; `baseURI` what relative
 *   URLs of the page are relative to. What the platform lacks is null.
 *   `addEventListener` returns a function that takes the listener away.
 */

/**
 * The environment of a page. Looks each function up when it is called, so that
 * what a page or its tests put in place of fetch later on is used.
 * @param {Window & typeof globalThis} window
 * @returns {Environment}
 */
export function browserEnvironment(window) {
  const { document, navigator } = window;
  return {
    fetch: (url, options) => window.fetch(url, options),
    AbortController: window.AbortController,
    openSocket: window.WebSocket ? (url) => new window.WebSocket(url) : null,
    openBroadcast: window.BroadcastChannel
      ? (name) => new window.BroadcastChannel(name)
      : null,
    // Only in secure contexts, and not in older browsers.
    locks: navigator.locks ?? null,
    storage: () => {
      try {
        return window.sessionStorage;
      } catch {
        return null; // where the user has forbidden it
      }
    },
    setTimeout: (fn, delay) => window.setTimeout(fn, delay),
    clearTimeout: (timer) => window.clearTimeout(/** @type {number} */ (timer)),
    random: () => Math.random(),
    now: () => Date.now(),
    console: window.console,
    addEventListener: (type, fn) => {
      const target = /^(visib|freeze|resume)/.test(type) ? document : window;
      target.addEventListener(type, fn);
      return () => target.removeEventListener(type, fn);
    },
    isHidden: () => document.visibilityState === "hidden",
    isOnline: () => navigator.onLine !== false,
    baseURI: () => document.baseURI,
  };
}
