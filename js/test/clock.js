import { setImmediate as turnOfTheLoop } from "node:timers/promises";

/**
 * Time that moves when told: `setTimeout` and `now` of an environment. All that follows
 * from one timer has happened before the next one is due.
 */
export function createClock(start = Date.UTC(2026, 0, 1)) {
  let now = start;
  let count = 0;
  /** @type {Map<number, { at: number, fn: () => void }>} */
  const timers = new Map();

  return {
    now: () => now,
    /** @param {() => void} fn @param {number} delay */
    setTimeout(fn, delay) {
      timers.set(++count, { at: now + delay, fn });
      return count;
    },
    /** @param {unknown} timer */
    clearTimeout(timer) {
      timers.delete(/** @type {number} */ (timer));
    },
    /** @param {number} ms */
    async pass(ms) {
      const end = now + ms;
      await turnOfTheLoop();
      for (;;) {
        let next = null;
        for (const [id, { at, fn }] of timers) {
          if (at <= end && (next === null || at < next.at)) next = { id, at, fn };
        }
        if (next === null) break;
        timers.delete(next.id);
        now = Math.max(now, next.at);
        next.fn();
        await turnOfTheLoop();
      }
      now = end;
      await turnOfTheLoop();
    },
  };
}
