import { TRANSPORT_RETRY, TRANSPORT_RETRY_CAP } from "./delays.js";

/**
 * Which transport to use: the first that gets through, in the order of `offered`. What
 * does not get through is remembered for as long as the browser's tab lives, and tried
 * again after a while, twice as long after each further time.
 *
 * A transport is only blamed for good once another one has worked: when nothing gets
 * through, the server is down, and no transport is at fault.
 *
 * @typedef {import("./attempt.js").TransportName} TransportName
 * @typedef {Partial<Record<TransportName, { times: number, until: number }>>} Blame
 *
 * @param {TransportName[]} offered At least one.
 * @param {string} url Of which it is remembered.
 * @param {import("./environment.js").Environment} environment
 */
export function createChoice(offered, url, environment) {
  const key = `pushserver:${url}`;
  /** @type {Set<TransportName>} */
  const suspects = new Set();
  /** @type {Blame | null} */
  let memory = null;

  return { pick, suspect, absolve: () => suspects.clear(), worked };

  /** @param {boolean} cheap Prefer what costs least while nothing happens. */
  function pick(cheap) {
    if (cheap && offered.includes("long-poll")) return "long-poll";
    const blame = remembered();
    const now = environment.now();
    const fit = offered.filter((name) => !suspects.has(name));
    const free = fit.find((name) => !(Number(blame[name]?.until) > now));
    return /** @type {TransportName} */ (free ?? fit[0] ?? offered[0]);
  }

  /**
   * This one did not get through; says whether another is left to try at once.
   * @param {TransportName} name
   */
  function suspect(name) {
    suspects.add(name);
    if (offered.some((other) => !suspects.has(other))) return true;
    suspects.clear();
    return false;
  }

  /** @param {TransportName} name */
  function worked(name) {
    if (suspects.size === 0) return;
    const blame = remembered();
    delete blame[name];
    for (const other of suspects) {
      const times = (blame[other]?.times ?? 0) + 1;
      const wait = Math.min(TRANSPORT_RETRY * 2 ** (times - 1), TRANSPORT_RETRY_CAP);
      blame[other] = { times, until: environment.now() + wait };
    }
    suspects.clear();
    try {
      environment.storage()?.setItem(key, JSON.stringify(blame));
    } catch {
      // Full, or forbidden: then it is found out again.
    }
    memory = blame;
  }

  /** @returns {Blame} */
  function remembered() {
    if (memory) return memory;
    try {
      memory = JSON.parse(environment.storage()?.getItem(key) ?? "{}");
    } catch {
      // Not ours, or not readable: as if nothing was known.
    }
    return (memory ??= {});
  }
}
