import {
  checkFunction,
  checkName,
  checkType,
  checkedChannels,
  checkedOptions,
} from "./arguments.js";
import { createCredentials } from "./credentials.js";
import { createEmitter } from "./emitter.js";
import { createFeeds } from "./feeds.js";
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
 * and a feed for each channel while the page is alive.
 * @param {import("./environment.js").Environment} environment
 */
export function createUpdates(environment) {
  const processors = createProcessors(environment.console);
  const feeds = createFeeds(environment, createCredentials(environment.baseURI));
  /**
   * @type {Map<string, {
   *   url: string,
   *   state: import("./longpoll.js").State,
   *   feed: import("./feeds.js").Feed,
   * }>}
   */
  const subscriptions = new Map();
  /** @type {ReturnType<typeof createEmitter<{ state: StateChange, gap: Gap }>>} */
  const { on, emit } = createEmitter(environment.console);

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
      const feed = feeds.create({
        url,
        interval,
        credentials,
        onMessage: (text) => {
          if (isCurrent()) processors.deliver(name, text);
        },
        onValue: (value) => {
          if (isCurrent()) processors.deliverValue(name, value);
        },
        onGap: () => {
          if (isCurrent()) emit("gap", { name, url });
        },
        onState: (state, status) => {
          if (!isCurrent()) return;
          subscription.state = state;
          emit("state", { name, url, state, status });
        },
      });
      /** @type {{ url: string, state: import("./longpoll.js").State, feed: typeof feed }} */
      const subscription = { url, state: "connecting", feed };
      subscriptions.set(name, subscription);
      emit("state", { name, url, state: "connecting", status: null });
    }
    feeds.start();
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
    subscription.feed.close();
    emit("state", {
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
    return on("state", fn);
  }

  /**
   * Call `fn({name, url})` when history was lost, before the next message is
   * processed. Returns a function that ends it.
   * @param {(gap: Gap) => void} fn
   */
  function onGap(fn) {
    checkFunction("onGap", fn);
    return on("gap", fn);
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
}
