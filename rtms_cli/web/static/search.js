// Search over what was said and written.

import { clock, count, day, get, make, own, Refused } from "./api.js";

const DELAY_MS = 250, AGAIN_MS = 700, MOST = 200;

export function show(main, params, shell) {
  shell.title("Search");
  const words = make("input", { type: "search", placeholder: "Words in transcripts, chat and titles", "aria-label": "Search", value: params.get("q") || "", autocomplete: "off" });
  const user = make("input", { type: "text", placeholder: "Anyone", "aria-label": "Said by", value: params.get("user") || "", size: "14" });
  const summary = make("p", { class: "under", role: "status" });
  const reading = make("progress", { hidden: true, "aria-label": "Indexing the recordings" });
  const hits = make("ul", { class: "hits", "aria-label": "Hits" });
  const none = make("div", { class: "none card" });
  main.append(
    make("div", { class: "head" }, make("h1", {}, "Search"), summary),
    make("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); search(0); } }, words, make("label", { class: "check" }, "Said by", user)),
    reading, none, hits,
  );
  let controller = new AbortController(), timer = 0, hasEnded = false;

  function hint() {
    none.hidden = false;
    none.replaceChildren(
      make("p", {}, "All words must stand in one line."),
      make("p", {}, make("code", {}, '"a phrase"'), " finds words in this order, ", make("code", {}, "invoi*"), " finds beginnings."),
    );
  }

  function search(delay) {
    clearTimeout(timer);
    controller.abort();
    timer = setTimeout(run, delay);
  }

  async function run() {
    const asked = words.value.trim(), by = user.value.trim();
    const kept = new URLSearchParams();
    if (asked) kept.set("q", asked);
    if (by) kept.set("user", by);
    shell.note(`/search${kept.size ? `?${kept}` : ""}`);
    shell.title(asked ? `${asked} · Search` : "Search");
    if (!asked) {
      reading.hidden = true;
      summary.textContent = "";
      hits.replaceChildren();
      hint();
      return;
    }
    controller = new AbortController();
    const mine = controller;
    kept.set("limit", MOST);
    kept.set("context", 1);
    try {
      const found = await get(`/api/search?${kept}`, mine.signal);
      if (mine !== controller || hasEnded) return;
      shell.lost("");
      reading.hidden = !found.reading;
      if (found.reading) {
        reading.max = found.reading.total || 1;
        reading.value = found.reading.done;
        summary.textContent = found.reading.total ? `Indexing ${found.reading.done.toLocaleString("en")} of ${count(found.reading.total, "recording")}…` : "Indexing…";
        none.hidden = true;
        search(AGAIN_MS);
        return;
      }
      draw(found, asked);
    } catch (error) {
      if (mine.signal.aborted || hasEnded) return;
      hits.replaceChildren();
      summary.textContent = "";
      if (error instanceof Refused) {
        none.hidden = false;
        none.replaceChildren(make("p", { role: "alert" }, error.message), make("p", {}, error.remedy));
      } else {
        shell.lost("The server does not answer. This page tries again by itself.");
        search(3000);
      }
    }
  }

  function draw(found, asked) {
    const groups = new Map();
    for (const hit of found.hits) {
      if (!groups.has(hit.link)) groups.set(hit.link, []);
      groups.get(hit.link).push(hit);
    }
    summary.textContent = !found.hits.length ? "" : `${found.is_cut ? `The first ${count(found.hits.length, "line")}` : count(found.hits.length, "line")} in ${count(groups.size, "recording")}${found.problems.length ? `; ${count(found.problems.length, "recording")} could not be read` : ""}`;
    none.hidden = found.hits.length > 0;
    if (!none.hidden) none.replaceChildren(make("p", {}, "Nothing was found."), make("p", {}, "All words must stand in one line. ", make("code", {}, "invoi*"), " finds beginnings."));
    const pattern = marks(asked);
    hits.replaceChildren(...[...groups.values()].map((lines) => group(lines, pattern)));
    shell.announce(summary.textContent || "Nothing was found.");
  }

  function group(lines, pattern) {
    const [first] = lines;
    const list = make("ul", {}, ...lines.map((hit) => line(hit, pattern)));
    return make("li", { class: "found card" }, make("h2", {}, make("a", { href: own(first.link) }, first.title || first.recording), make("span", {}, day(first.began)), make("span", {}, count(lines.length, "line"))), list);
  }

  function line(hit, pattern) {
    const said = make("p", {}, hit.who ? make("b", {}, `${hit.who}: `) : null, ...marked(hit.text, pattern), hit.kind === "transcript" ? null : make("span", { class: "badge" }, hit.kind));
    const near = (text) => make("p", { class: "near" }, text);
    return make("li", { class: "hit" }, make("a", { href: `${own(hit.link)}#t=${hit.at.toFixed(2)}` }, make("time", {}, clock(hit.at)), make("div", {}, ...hit.before.map(near), said, ...hit.after.map(near))));
  }

  words.addEventListener("input", () => search(DELAY_MS));
  user.addEventListener("input", () => search(DELAY_MS));
  words.addEventListener("keydown", (event) => {
    const link = hits.querySelector(".hit a");
    if (event.key === "ArrowDown" && link) {
      event.preventDefault();
      link.focus();
    }
  });
  hits.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step) return;
    const links = [...hits.querySelectorAll(".hit a")];
    const next = links.indexOf(document.activeElement) + step;
    event.preventDefault();
    if (next < 0) words.focus();
    else links[Math.min(next, links.length - 1)].focus();
  });
  if (words.value) run();
  else hint();
  requestAnimationFrame(() => { if (!words.value) words.focus(); });
  return () => {
    hasEnded = true;
    clearTimeout(timer);
    controller.abort();
  };
}

function marks(asked) {
  const parts = [...asked.matchAll(/"([^"]*)"?|(\S+)/g)].map(([, phrase, word]) => (phrase ?? word).replace(/\*+$/, "")).filter((part) => /[\p{L}\p{N}]/u.test(part));
  const escaped = parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\s+/g, "\\s+"));
  return escaped.length ? new RegExp(`(${escaped.join("|")})`, "giu") : null;
}

function marked(text, pattern) {
  return pattern ? text.split(pattern).map((part, place) => (place % 2 ? make("mark", {}, part) : part)) : [text];
}
