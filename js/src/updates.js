import {
  checkFunction,
  checkName,
  checkType,
  checkedChannels,
  checkedOptions,
} from "./arguments.js";
import { createCredentials } from "./credentials.js";
import { createLongPoll } from "./longpoll.js";
import { createProcessors } from "./processors.js";

/**
 * What a page hears about a channel. `name` is the key given to subscribe.
 * @typedef {{
 *   readonly name: string,
 *   readonly url: string,
 *   readonly state: import("./longpoll.js").State,
 *   readonly status: number | null,
 * }} StateChange `status` is the HTTP status of the last answer, null when no answer
 *   came or a poll is being held. 401 and 403 are retried about once a minute.
 *
 * @typedef {{ readonly name: string, readonly url: string }} Gap Messages that this
 *   page had not seen have left the store: it may want to load its data again.
 */

/**
 * `$.updates`, without jQuery: names for channels, processors for their updates,
 * and one poll for each channel while the page is alive.
 * @param {import("./environment.js").Environment} environment
 */
export function createUpdates(environment) {
  const processors = createProcessors(environment.console);
  const credentialsByOrigin = createCredentials(environment.baseURI);
  /**
   * @type {Map<string, {
   *   url: string,
   *   state: import("./longpoll.js").State,
   *   poll: ReturnType<typeof createLongPoll>,
   * }>}
   */
  const subscriptions = new Map();
  /** @type {Set<{ fn: (change: StateChange) => void }>} */
  const stateListeners = new Set();
  /** @type {Set<{ fn: (gap: Gap) => void }>} */
  const gapListeners = new Set();
  let pageHidden = false;

  environment.addEventListener("beforeunload", () => {
    for (const { poll } of subscriptions.values()) poll.leave();
  });
  environment.addEventListener("pagehide", () => {
    pageHidden = true;
    for (const { poll } of subscriptions.values()) poll.stop();
  });
  environment.addEventListener("pageshow", () => {
    // Also fired when a page has loaded, with its polls under way: start() is
    // without effect then. After the back-forward cache it goes on at once.
    pageHidden = false;
    for (const { poll } of [...subscriptions.values()]) poll.start();
  });

  return { subscribe, unsubscribe, registerProcessor, onStateChange, onGap, state };

  /**
   * Listen to channels: `{name: url, ...}`. A name that already listens to that URL
   * goes on undisturbed; with another URL it starts anew there.
   * @param {Record<string, string>} channels
   * @param {import("./arguments.js").SubscribeOptions} [options]
   */
  function subscribe(channels, options = {}) {
    const { interval, credentials } = checkedOptions(options);
    for (const [name, url] of checkedChannels(channels, environment.baseURI())) {
      if (subscriptions.get(name)?.url === url) continue;
      unsubscribe(name);
      const isCurrent = () => subscriptions.get(name) === subscription;
      const poll = createLongPoll({
        url,
        interval,
        credentials,
        credentialsByOrigin,
        environment,
        onMessage: (text) => {
          if (isCurrent()) processors.deliver(name, text);
        },
        onGap: () => {
          if (isCurrent()) tell(gapListeners, { name, url });
        },
        onState: (state, status) => {
          if (!isCurrent()) return;
          subscription.state = state;
          tell(stateListeners, { name, url, state, status });
        },
      });
      /** @type {{ url: string, state: import("./longpoll.js").State, poll: typeof poll }} */
      const subscription = { url, state: "connecting", poll };
      subscriptions.set(name, subscription);
      tell(stateListeners, { name, url, state: "connecting", status: null });
      if (!pageHidden && isCurrent()) poll.start();
    }
  }

  /**
   * Stop listening under this name; says whether it did listen. Its processors stay
   * registered. Nothing is delivered any more once this has returned.
   * @param {string} name
   */
  function unsubscribe(name) {
    checkName(name);
    const subscription = subscriptions.get(name);
    if (!subscription) return false;
    subscriptions.delete(name);
    subscription.poll.stop();
    tell(stateListeners, {
      name,
      url: subscription.url,
      state: "closed",
      status: null,
    });
    return true;
  }

  /**
   * Call `fn(update)` for each update of this type on the channel subscribed to under
   * this name, before or after. Returns a function that ends it.
   * @param {string} name
   * @param {string} type
   * @param {import("./processors.js").Processor} fn
   */
  function registerProcessor(name, type, fn) {
    checkName(name);
    checkType(type);
    checkFunction("registerProcessor", fn);
    return processors.register(name, type, fn);
  }

  /**
   * Call `fn({name, url, state, status})` when the connection of a channel changes.
   * Returns a function that ends it.
   * @param {(change: StateChange) => void} fn
   */
  function onStateChange(fn) {
    checkFunction("onStateChange", fn);
    return listen(stateListeners, fn);
  }

  /**
   * Call `fn({name, url})` when history was lost, before the next message is
   * processed. Returns a function that ends it.
   * @param {(gap: Gap) => void} fn
   */
  function onGap(fn) {
    checkFunction("onGap", fn);
    return listen(gapListeners, fn);
  }

  /**
   * The state of a channel at this moment; "closed" when there is no subscription.
   * @param {string} name
   * @returns {import("./longpoll.js").State}
   */
  function state(name) {
    checkName(name);
    return subscriptions.get(name)?.state ?? "closed";
  }

  /**
   * @template T
   * @param {Set<{ fn: (event: T) => void }>} listeners
   * @param {(event: T) => void} fn
   */
  function listen(listeners, fn) {
    const listener = { fn };
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  /**
   * @template T
   * @param {Set<{ fn: (event: T) => void }>} listeners
   * @param {T} event
   */
  function tell(listeners, event) {
    for (const { fn } of [...listeners]) {
      try {
        fn(event);
      } catch (error) {
        environment.console.error("pushserver: a callback failed:", error);
      }
    }
  }
}
