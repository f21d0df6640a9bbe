import { linkAlone } from "./alone.js";
import { createChoice } from "./choice.js";
import { createClient } from "./client.js";
import { createCredentials } from "./credentials.js";
import { browserEnvironment } from "./environment.js";
import { pollAttempt } from "./pollattempt.js";
import { show } from "./show.js";
import { socketAttempt } from "./socketattempt.js";
import { keyOf } from "./spelling.js";
import { streamAttempt } from "./streamattempt.js";
import { linkTabs } from "./tabs.js";

/**
 * @typedef {import("./client.js").Handlers} Handlers
 * @typedef {import("./attempt.js").TransportName} TransportName
 *
 * @typedef {{
 *   multiplex: string | null,
 *   channels?: Record<string, { since?: string | null, url?: string }>,
 *   transports?: TransportName[],
 *   share?: boolean | string,
 *   credentials?: import("./environment.js").CredentialsMode | "auto",
 *   token?: (channel: string, refusal: import("./client.js").Refusal | null) =>
 *     string | undefined | PromiseLike<string | undefined>,
 * }} Config
 *
 * @typedef {string | { channel: string, since?: string | null }
 *   | { url: string, since?: string | null }} ChannelSpec
 */

const TRANSPORTS = /** @type {const} */ ({
  websocket: socketAttempt,
  "event-stream": streamAttempt,
  "long-poll": pollAttempt,
});
const NAMES = /** @type {TransportName[]} */ (Object.keys(TRANSPORTS));
const CREDENTIALS = ["auto", "include", "omit", "same-origin"];
const KEYS = ["multiplex", "channels", "transports", "share", "credentials", "token"];

/**
 * What `{% push_config %}` has put into the page.
 * @param {string} [id]
 * @returns {Config}
 */
export function readConfig(id = "push-config") {
  const element = document.getElementById(id);
  if (!element) {
    throw new TypeError(
      `connect: the page has no element with the id "${id}": ` +
        "put {% push_config %} into it, or pass a configuration",
    );
  }
  return JSON.parse(element.textContent ?? "");
}

/**
 * Listen to any number of channels over one connection, which all tabs of this origin
 * share. Channels, and with them the connection, come by `subscribe`.
 * @param {Config} [config]
 * @param {import("./environment.js").Environment} [environment]
 */
export function connect(
  config = readConfig(),
  environment = browserEnvironment(window),
) {
  const { url, transports, share, credentials } = checked(config, environment);
  const options = {
    url,
    transports: TRANSPORTS,
    choice: createChoice(transports, url, environment),
    credentials,
    credentialsByOrigin: createCredentials(environment.baseURI),
    environment,
  };
  const group = `pushserver:${url}:${share}`;
  const isShared = share !== false && canShare(environment, group);
  const client = createClient({
    environment,
    createLink: (events) =>
      isShared ? linkTabs(options, group, events) : linkAlone(options, events),
    renew: config.token,
  });
  const known = new Map(Object.entries(config.channels ?? {}));

  return {
    subscribe,
    on: client.on,
    close: client.close,
    get state() {
      return client.state;
    },
  };

  /**
   * @param {ChannelSpec} spec
   * @param {Handlers | NonNullable<Handlers["onMessage"]>} handlers
   */
  function subscribe(spec, handlers) {
    const { key, name, since } = checkedSpec(spec, url);
    const start = since ?? known.get(name)?.since ?? null;
    return client.subscribe(key, name, start, checkedHandlers(handlers));
  }
}

/**
 * @param {import("./environment.js").Environment} environment
 * @param {string} group
 */
function canShare({ locks, openBroadcast }, group) {
  try {
    openBroadcast?.(group).close();
    return locks !== null && openBroadcast !== null;
  } catch {
    return false; // where the user has forbidden it
  }
}

/**
 * @param {Config} config
 * @param {import("./environment.js").Environment} environment
 */
function checked(config, environment) {
  if (typeof config !== "object" || config === null) {
    throw new TypeError(
      `connect: the configuration must be an object, not ${show(config)}`,
    );
  }
  const unknown = Object.keys(config).filter((key) => !KEYS.includes(key));
  if (unknown.length > 0) {
    throw new TypeError(`connect: there is ${KEYS.join(", ")}, and no ${unknown}`);
  }
  const { multiplex, transports = NAMES, share = true, credentials = "auto" } = config;
  let url = null;
  try {
    url = new URL(/** @type {string} */ (multiplex), environment.baseURI());
  } catch {
    // Reported below, with what parses and cannot be asked.
  }
  if (typeof multiplex !== "string" || !url || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(
      "connect: multiplex must be the URL of a multiplex location, " +
        `not ${show(multiplex)}; without one, use $.updates`,
    );
  }
  if (!Array.isArray(transports) || !transports.every((name) => NAMES.includes(name))) {
    throw new TypeError(
      `connect: transports must be a list out of ${NAMES.join(", ")}, not ${show(transports)}`,
    );
  }
  if (typeof share !== "boolean" && typeof share !== "string") {
    throw new TypeError(
      `connect: share must be true, false or the name of a group, not ${show(share)}`,
    );
  }
  if (!CREDENTIALS.includes(credentials)) {
    throw new TypeError(
      `connect: credentials must be one of ${CREDENTIALS.join(", ")}, not ${show(credentials)}`,
    );
  }
  if (config.token !== undefined && typeof config.token !== "function") {
    throw new TypeError(
      `connect: token must be a function (channel) => token, not ${show(config.token)}`,
    );
  }
  const usable = transports.filter(
    (name) => name !== "websocket" || environment.openSocket,
  );
  url.hash = "";
  return {
    url: url.href,
    transports: usable.length > 0 ? usable : NAMES.slice(-1),
    share,
    credentials: credentials === "auto" ? null : credentials,
  };
}

/**
 * @param {ChannelSpec} spec
 * @param {string} base
 */
function checkedSpec(spec, base) {
  /** @type {{ channel?: unknown, url?: unknown, since?: string | null }} */
  const { channel, url, since } =
    typeof spec === "object" && spec ? spec : { channel: spec };
  if (typeof channel === "string" && channel !== "") {
    return { key: keyOf({ channel }), name: channel, since };
  }
  if (typeof url === "string" && url !== "" && channel === undefined) {
    const { pathname, href } = new URL(url, base);
    if (new URL(href).origin !== new URL(base).origin) {
      throw new TypeError(`subscribe: ${show(url)} is not at ${new URL(base).origin}`);
    }
    return { key: keyOf({ url: pathname }), name: url, since };
  }
  throw new TypeError(
    "subscribe: expected the id of a channel, {channel, since} or {url, since}, " +
      `not ${show(spec)}`,
  );
}

/**
 * @param {Handlers | NonNullable<Handlers["onMessage"]>} handlers
 * @returns {Handlers}
 */
function checkedHandlers(handlers) {
  if (typeof handlers === "function") return { onMessage: handlers };
  if (typeof handlers === "object" && handlers !== null) {
    const { onMessage, onGap, onError, ...unknown } = handlers;
    const fns = [onMessage, onGap, onError].filter((fn) => fn !== undefined);
    if (
      Object.keys(unknown).length === 0 &&
      fns.every((fn) => typeof fn === "function")
    ) {
      return handlers;
    }
  }
  throw new TypeError(
    "subscribe: expected a function or {onMessage, onGap, onError} of functions, " +
      `not ${show(handlers)}`,
  );
}
