/** What both pages have: the connection's state, the push box, and posting. */

export const page = JSON.parse(document.getElementById("page").textContent);
export const { updates } = window.pushserver;

const TEXTS = {
  connecting: "connecting",
  open: "live",
  waiting: "reconnecting",
  closed: "closed",
};

/** Subscribe to the page's channel; its processors are registered by now. */
export function listen() {
  updates.onStateChange(({ state }) => showState(state));
  // Messages left the store unseen: the server knows how things stand.
  updates.onGap(() => location.reload());
  updates.subscribe({ [page.channel]: page.url });
}

/** Send a form, and the button that was pressed, without leaving the page. */
export function post(form, submitter) {
  const body = new FormData(form, submitter);
  // A login in another window changes the token: the cookie has the present one.
  body.delete("csrfmiddlewaretoken");
  const headers = { Accept: "application/json", "X-CSRFToken": cookie() };
  return fetch(form.action, { method: "POST", body, headers });
}

function cookie() {
  const start = `${page.csrfCookie}=`;
  const found = document.cookie.split("; ").find((each) => each.startsWith(start));
  return found?.slice(start.length) ?? "";
}

function showState(state) {
  const element = document.getElementById("state");
  element.dataset.state = state;
  element.textContent = TEXTS[state];
}

const pushed = document.getElementById("pushed");

document.getElementById("push").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const response = await post(event.target, event.submitter);
    showPushed(await response.json());
  } catch (error) {
    showPushed({ error: `The server did not answer as expected: ${error.message}` });
  }
});

function showPushed({ error, channel, id, held }) {
  pushed.classList.toggle("error", error !== undefined);
  if (error !== undefined) {
    pushed.textContent = error;
    return;
  }
  const readers = held === 1 ? "1 page was" : `${held} pages were`;
  pushed.replaceChildren(`Kept as ${id}; ${readers} waiting for it.`);
  if (channel !== page.channel) {
    const link = document.createElement("a");
    link.href = `/channels/${encodeURIComponent(channel)}/`;
    link.textContent = "Watch that channel";
    pushed.append(" ", link);
  }
}
