/** push.d.ts against the source, and as a page uses it. Checked by tsc, never run. */
import * as source from "../src/push.js";
import * as declared from "../../pushserver/static/pushserver/push.js";

// What is declared is there, and takes and gives what is declared.
const connect: typeof declared.connect = source.connect;
const readConfig: typeof declared.readConfig = source.readConfig;
const all: Record<keyof typeof source, unknown> = { connect, readConfig };
export const none: Record<Exclude<keyof typeof declared, "default">, unknown> = all;
export const config: Parameters<typeof source.connect>[0] = declared.readConfig();

// What the client hears is what it declares to hear, and no less.
type SourceEvents = import("../src/client.js").Events;
export const events = (event: SourceEvents): declared.Events => event;
export const back = (event: declared.Events): SourceEvents => event;

const client = declared.connect({
    multiplex: "/updates",
    transports: ["event-stream", "long-poll"],
    token: async (channel, refusal) => (refusal === null ? channel : undefined),
});
const votes = client.subscribe<{ value: number }>("votes", (data, { id }) => {
    data.value.toFixed();
    id.split("-");
});
votes.close();
client.on("state", ({ state }) => state === "offline");

// @ts-expect-error: there is no such state
client.on("state", ({ state }) => state === "online");
// @ts-expect-error: there is no such event
client.on("states", () => {});
// @ts-expect-error: a transport has one of three names
declared.connect({ multiplex: "/updates", transports: ["sse"] });
// @ts-expect-error: a handler has another name
client.subscribe("votes", { onmessage: () => {} });
