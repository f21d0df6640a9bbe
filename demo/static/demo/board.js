import { listen, page, post, updates } from "./page.js";
import "./wire.js";

const show = { votes: showVotes, presence: showPresence, answer: showAnswer };

// How things stood when the page was made. The first polls repeat what is still kept
// of the past; each update says enough to tell that it is old.
const seen = { votes: -1, presence: 0, answers: 0 };
for (const update of page.state) show[update.type](update);
for (const [type, fn] of Object.entries(show)) {
  updates.registerProcessor(page.channel, type, fn);
}
listen();

const poll = document.getElementById("poll");
poll.addEventListener("submit", async (event) => {
  event.preventDefault();
  // The bars wait for the push, as in all the other windows.
  const response = await post(poll, event.submitter);
  if (!response.ok) location.reload();
});

function showVotes({ counts, total }) {
  if (total <= seen.votes) return;
  seen.votes = total;
  const most = Math.max(...Object.values(counts));
  document.getElementById("total").textContent = total;
  for (const button of document.querySelectorAll("[data-choice]")) {
    const votes = counts[button.dataset.choice] ?? 0;
    const share = `${Math.round((100 * votes) / (total || 1))}%`;
    const changed = button.querySelector("[data-votes]").textContent !== `${votes}`;
    button.querySelector("[data-votes]").textContent = votes;
    button.querySelector("[data-share]").textContent = share;
    button.querySelector("rect").style.width = share;
    button.classList.toggle("first", votes > 0 && votes === most);
    if (changed) flash(button);
  }
}

function showPresence({ users, guests, at }) {
  if (at < seen.presence) return;
  seen.presence = at;
  const people = users.map(({ name, pages }) => person(name, pages));
  if (guests) people.push(person("", guests));
  document.getElementById("people").replaceChildren(...people);
}

function person(name, pages) {
  const item = document.createElement("li");
  const avatar = document.createElement("span");
  avatar.className = "avatar";
  avatar.dataset.letter = name.slice(0, 1);
  const who = document.createElement("span");
  who.textContent = name || (pages === 1 ? "a guest" : `${pages} guests`);
  const detail = document.createElement("small");
  detail.textContent = [
    name && name === page.user ? "you" : "",
    name ? `${pages} ${pages === 1 ? "page" : "pages"}` : "not logged in",
  ]
    .filter(Boolean)
    .join(", ");
  item.append(avatar, who, detail);
  return item;
}

function showAnswer({ value }) {
  seen.answers += 1;
  const answer = document.getElementById("answer");
  answer.textContent = typeof value === "string" ? value : JSON.stringify(value);
  const times = seen.answers === 1 ? "once" : `${seen.answers} times`;
  document.getElementById("answer-note").textContent = `Sent ${times} so far.`;
  flash(answer);
}

function flash(element) {
  element.classList.remove("flash");
  void element.offsetWidth; // begins the animation anew
  element.classList.add("flash");
}

const copy = document.getElementById("copy");
copy.hidden = !navigator.clipboard;
copy.addEventListener("click", async () => {
  await navigator.clipboard.writeText(document.getElementById("command").textContent);
  copy.textContent = "Copied";
});
