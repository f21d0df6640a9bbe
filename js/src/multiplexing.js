import { linkAlone } from "./alone.js";
import { createChoice } from "./choice.js";
import { createClient } from "./client.js";
import { FIRST_BYTE } from "./delays.js";
import { pollAttempt } from "./pollattempt.js";
import { MULTIPLEX } from "./protocol.js";
import { streamAttempt } from "./streamattempt.js";

/**
 * For `$.updates`: finds out whether a server offers many channels over one connection,
 * and has that connection. A server that does not say so (Nchan, an older daemon) is
 * asked once in the life of a page.
 *
 * Without WebSocket, whose failing handshake shows in the console of a page that never
 * asked for one; and one connection a page, because the server's signals tell who
 * listens, page by page.
 *
 * @param {import("./environment.js").Environment} environment
 * @param {import("./credentials.js").Credentials} credentialsByOrigin
 */
export function createMultiplexing(environment, credentialsByOrigin) {
  /** @typedef {import("./environment.js").CredentialsMode | null} Mode */
  /** @typedef {ReturnType<typeof createClient>} Client */
  /** @type {Map<string, Promise<Client | null>>} */
  const clients = new Map();

  return { clientFor };

  /**
   * The client for this channel and all others of its origin; null where there has to
   * be a poll for each.
   * @param {string} url
   * @param {Mode} credentials
   */
  function clientFor(url, credentials) {
    const group = groupOf(url, credentials);
    let client = clients.get(group);
    if (!client) {
      client = find(url, credentials);
      clients.set(group, client);
    }
    return client;
  }

  /**
   * @param {string} channelUrl
   * @param {Mode} credentials
   */
  async function find(channelUrl, credentials) {
    const offer = await ask(channelUrl, credentials);
    const url = offer === null ? null : new URL(offer, channelUrl);
    if (url === null || url.origin !== new URL(channelUrl).origin) return null;
    const options = {
      url: url.href,
      transports: { "event-stream": streamAttempt, "long-poll": pollAttempt },
      choice: createChoice(["event-stream", "long-poll"], url.href, environment),
      credentials,
      credentialsByOrigin,
      environment,
    };
    return createClient({
      environment,
      createLink: (events) => linkAlone(options, events),
    });
  }

  /**
   * @param {string} url
   * @param {Mode} credentials
   * @returns {Promise<string | null>}
   */
  async function ask(url, credentials) {
    const mode = credentials ?? credentialsByOrigin.modeFor(url);
    const headers = await optionsOf(url, mode);
    if (headers) {
      credentialsByOrigin.answered(url, mode);
      return headers.get(MULTIPLEX);
    }
    const isWorthIt = !credentials && credentialsByOrigin.failed(url, mode);
    return isWorthIt ? ask(url, credentials) : null;
  }

  /**
   * @param {string} url
   * @param {import("./environment.js").CredentialsMode} credentials
   */
  async function optionsOf(url, credentials) {
    const controller = new environment.AbortController();
    const deadline = environment.setTimeout(() => controller.abort(), FIRST_BYTE);
    try {
      const { headers } = await environment.fetch(url, {
        method: "OPTIONS",
        headers: {},
        credentials,
        cache: "no-store",
        signal: controller.signal,
      });
      return headers;
    } catch {
      return null;
    } finally {
      environment.clearTimeout(deadline);
    }
  }
}

/**
 * Channels that could share a connection.
 * @param {string} url
 * @param {import("./environment.js").CredentialsMode | null} credentials
 */
export function groupOf(url, credentials) {
  return `${new URL(url).origin} ${credentials}`;
}
