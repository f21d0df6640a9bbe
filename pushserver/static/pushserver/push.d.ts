/** Types of push.js, the client of django-pushserver. */

/** How messages travel; see `Config.transports`. */
export type TransportName = "websocket" | "event-stream" | "long-poll";

/**
 * - `connecting`: nothing was answered yet
 * - `open`: answers come, or a request is being held
 * - `waiting`: the last attempt failed, the next one comes by itself
 * - `offline`: as `waiting`, and the browser says that there is no network
 * - `closed`: `close()` was called
 */
export type State = "connecting" | "open" | "waiting" | "offline" | "closed";

/** What `{% push_config %}` gives, and what a page may add. */
export interface Config {
  /** The URL of the multiplex location. */
  multiplex: string | null;
  /** Where to begin, by channel: after the message with the id `since`. */
  channels?: Record<string, { since?: string | null; url?: string }>;
  /** In the order in which they are tried. Default: all, in the order of the type. */
  transports?: TransportName[];
  /**
   * Whether the tabs of this origin share one connection (default), or the name of the
   * group of tabs that does: tabs of different users should not.
   */
  share?: boolean | string;
  /** As fetch understands it; "auto" (default) finds out what the server accepts. */
  credentials?: "auto" | "include" | "omit" | "same-origin";
  /**
   * The token of a channel. Called before the channel is first asked for (`refusal` is
   * null) and after each refusal with 401 or 403.
   */
  token?: (
    channel: string,
    refusal: Refusal | null,
  ) => string | undefined | PromiseLike<string | undefined>;
}

export interface Message<Data = any> {
  /** As it was subscribed to. */
  channel: string;
  id: string;
  /** The content type, null when it was published without one. */
  type: string | null;
  /** The JSON value, the text, or a Uint8Array for anything else. */
  data: Data;
  /** The event name, null for most messages. */
  event: string | null;
}

export interface Refusal {
  /** null when the server refused the request as a whole. */
  channel: string | null;
  /** As in HTTP: 400, 401, 403, 404, 409, 410 or 503. */
  status: number;
  /** One line of the server. */
  reason: string;
}

export interface Handlers<Data = any> {
  /** Each message once, in order. */
  onMessage?: ((data: Data, message: Message<Data>) => void) | undefined;
  /** Messages that this page has not seen have left the store. */
  onGap?: ((channel: string) => void) | undefined;
  /** The channel was refused or deleted; told once, and asked for again but for 400. */
  onError?: ((refusal: Refusal) => void) | undefined;
}

export interface Events {
  /** `status` is the HTTP status of the last answer, null when there was none. */
  state: { state: State; status: number | null };
  gap: { channel: string };
  error: Refusal;
  message: Message;
}

export interface Subscription {
  readonly channel: string;
  /** The id of the last message that was handled; null before the first. */
  readonly cursor: string | null;
  /** Stop listening. Nothing is delivered to its handlers any more. */
  close(): void;
}

export interface Client {
  /**
   * Listen to a channel, by id or by the URL of a subscriber location. A channel that
   * this client has listened to before goes on where it was left; `since` and the
   * configuration count for the first time.
   */
  subscribe<Data = any>(
    channel:
      | string
      | { channel: string; since?: string | null }
      | { url: string; since?: string | null },
    handlers: Handlers<Data> | ((data: Data, message: Message<Data>) => void),
  ): Subscription;
  /** Returns a function that ends it. */
  on<T extends keyof Events>(type: T, fn: (event: Events[T]) => void): () => void;
  /** End it for good. */
  close(): void;
  readonly state: State;
}

/** Read the configuration that `{% push_config %}` has put into the page. */
export function readConfig(id?: string): Config;

/** A client; without a configuration by what `readConfig()` gives. */
export function connect(config?: Config): Client;
