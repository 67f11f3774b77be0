// Search over what was said and written.

import { clock, count, day, fold, get, make, own, progress } from "./api.js";

const DELAY_MS = 250, READING_MS = 700, AGAIN_MS = 3000, MOST = 200, EACH = 10, LONGEST = 999;

export function show(main, params, shell) {
  const words = make("input", { type: "search", placeholder: "Words in transcripts, chat and titles", "aria-label": "Search", value: params.get("q") || "", maxlength: "500", autocomplete: "off", autocapitalize: "none" });
  const user = make("input", { type: "text", placeholder: "anyone", value: params.get("user") || "", size: "14", maxlength: "200", autocomplete: "off" });
  const summary = make("p", { class: "under", role: "status" });
  const reading = progress("Indexing");
  const hits = make("ul", { class: "hits", "aria-label": "Hits" });
  const none = make("div", { class: "none card" });
  const form = make("form", { class: "filters", role: "search" }, words, make("label", { class: "check" }, "Said by", user));
  let controller = new AbortController(), timer = 0, noting = 0, back = history.state?.top || 0, hasEnded = false;
  main.append(make("div", { class: "head" }, make("h1", {}, "Search"), summary), form, reading.element, none, hits);

  /** Ask soon. What was asked before is forgotten, so that answers cannot overtake each other. */
  function search(delay) {
    clearTimeout(timer);
    controller.abort();
    timer = setTimeout(run, delay);
  }

  function note(top = scrollY) {
    clearTimeout(noting);
    const kept = new URLSearchParams();
    if (words.value.trim()) kept.set("q", words.value.trim());
    if (user.value.trim()) kept.set("user", user.value.trim());
    if (location.pathname === "/search") shell.note(`/search${kept.size ? `?${kept}` : ""}`, { top });
    return kept;
  }

  function say(...lines) {
    summary.textContent = "";
    hits.replaceChildren();
    none.hidden = false;
    none.replaceChildren(...lines);
  }

  async function run() {
    const asked = words.value.trim(), query = note(back);
    shell.title(asked ? `${asked} · Search` : "Search");
    reading.show(null);
    if (!shell.about.can_search) return say(make("p", {}, "There is nothing to search here."));
    if (!asked) return say(...hints("Search what was said and written in all recordings."));
    query.set("limit", MOST);
    query.set("context", 1);
    query.set("each", EACH);
    controller = new AbortController();
    const mine = controller;
    try {
      const found = await get(`/api/search?${query}`, mine.signal);
      if (mine !== controller || mine.signal.aborted || hasEnded) return;
      shell.lost("");
      reading.show(found.reading);
      if (found.reading) {
        none.hidden = true;
        if (found.hits.length && !back && !hits.contains(document.activeElement)) draw(found, asked);
        search(READING_MS);
      } else draw(found, asked);
    } catch (error) {
      if (mine.signal.aborted || hasEnded) return;
      if (error.status) say(make("p", { role: "alert" }, error.message), make("p", {}, error.remedy));
      else {
        shell.lost(shell.LOST);
        search(AGAIN_MS);
      }
    }
  }

  /** What is drawn again keeps the focus; if it is not there any more, the field has it. */
  function draw(found, asked) {
    const chosen = hits.contains(document.activeElement) ? document.activeElement : null;
    fill(found, asked);
    if (chosen) ([...hits.querySelectorAll("a")].find((link) => link.href === chosen.href) || words).focus({ preventScroll: true });
  }

  function fill(found, asked) {
    const groups = new Map();
    for (const hit of found.hits) {
      if (!groups.has(hit.link)) groups.set(hit.link, []);
      groups.get(hit.link).push(hit);
    }
    if (!found.hits.length) {
      say(...hints("Nothing was found."));
      shell.announce("Nothing was found.");
    } else {
      none.hidden = true;
      const sum = [...groups.values()].reduce((sum, [first]) => sum + first.found_here, 0);
      const where = found.is_cut ? `the newest ${count(groups.size, "recording")}. Add a word to see others.` : count(groups.size, "recording");
      summary.textContent = `${count(sum, "line")} in ${where}`;
      const terms = read(asked);
      hits.replaceChildren(...[...groups.values()].map((lines) => group(lines, terms, all)));
    }
    if (found.problems.length) hits.append(unread(found.problems));
    if (back) scrollTo(0, back);
    back = 0;
  }

  /** Show all lines of one recording, in the place of its first ones. */
  async function all(card, lines, terms) {
    const mine = controller, query = note();
    for (const [name, value] of [["limit", LONGEST], ["context", 1], ["recording", lines[0].link.split("/").pop()]]) query.set(name, value);
    try {
      const found = await get(`/api/search?${query}`, mine.signal);
      if (mine !== controller || mine.signal.aborted || hasEnded || !found.hits.length) return;
      const whole = group(found.hits, terms);
      card.replaceWith(whole);
      (whole.querySelectorAll(".hit a")[lines.length] || whole.querySelector("a")).focus();
    } catch (error) {
      if (!mine.signal.aborted && !hasEnded) shell.announce(error.message);
    }
  }

  words.addEventListener("input", () => search(DELAY_MS));
  user.addEventListener("input", () => search(DELAY_MS));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(0);
  });
  const links = () => [...hits.querySelectorAll(".hit a")];
  words.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || !links().length) return;
    event.preventDefault();
    links()[0].focus();
  });
  const ended = new AbortController();
  const later = { signal: ended.signal };
  document.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = links(), at = all.indexOf(document.activeElement);
    if (at < 0 && (event.key.startsWith("Arrow") || event.target.closest("input, button, dialog"))) return;
    event.preventDefault();
    if (at === 0 && step < 0) words.focus();
    else all[at < 0 ? 0 : Math.min(at + step, all.length - 1)]?.focus();
  }, later);
  addEventListener("scroll", () => {
    clearTimeout(noting);
    noting = setTimeout(note, DELAY_MS);
  }, { ...later, passive: true });
  run();
  requestAnimationFrame(() => {
    if (!words.value && !hasEnded) words.focus();
  });
  return () => {
    hasEnded = true;
    clearTimeout(timer);
    clearTimeout(noting);
    controller.abort();
    ended.abort();
  };
}

function hints(first) {
  const rows = [["invoice march", "lines that have both words"], ['"send the invoice"', "the words in this order"], ["invoi*", "words that begin like this"]];
  const table = make("table", { class: "asks" }, ...rows.map(([code, what]) => make("tr", {}, make("th", { scope: "row" }, make("code", {}, code)), make("td", {}, what))));
  return [make("p", {}, first), table];
}

/** The recordings that could not be read, so that nobody takes their silence for an answer. */
function unread(problems) {
  const what = `${count(problems.length, "recording")} could not be searched`;
  return make("li", { class: "card unread" }, make("details", {}, make("summary", {}, what), make("ul", {}, ...problems.map((one) => make("li", {}, one)))));
}

function group(lines, terms, all) {
  const [first] = lines, more = first.found_here - lines.length;
  const title = make("a", { href: own(first.link), title: first.recording }, first.title || first.recording);
  const about = [day(first.began), count(first.found_here, "line")].filter(Boolean).join(" · ");
  const card = make("li", { class: "found card" }, make("h2", {}, title, make("span", {}, about)), make("ul", {}, ...lines.map((hit) => line(hit, terms))));
  if (more > 0 && all) {
    const button = make("button", { type: "button" }, `Show ${count(more, "more line")}`);
    button.addEventListener("click", () => all(card, lines, terms));
    card.append(button);
  } else if (more > 0) card.append(make("p", {}, `and ${count(more, "more line")}`));
  return card;
}

function line(hit, terms) {
  const kind = hit.kind === "transcript" ? null : make("span", { class: "badge" }, hit.kind);
  const said = make("p", {}, hit.who ? make("b", {}, make("bdi", {}, hit.who), ": ") : null, make("bdi", {}, ...marked(hit.text, terms)), kind && " ", kind);
  const near = (text) => make("p", { class: "near" }, text);
  const text = make("div", {}, ...hit.before.map(near), said, ...hit.after.map(near));
  return make("li", { class: "hit" }, make("a", { href: `${own(hit.link)}#t=${hit.at.toFixed(2)}` }, make("time", {}, clock(hit.at)), text));
}

// Words as the index has them: letters, digits and marks. In scripts without blanks, each sign is a word.
const SIGNS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{3ffff}";
const WORD = new RegExp(`[${SIGNS}]|(?:(?![${SIGNS}])[\\p{L}\\p{N}\\p{Co}\\p{M}])+`, "gu");

/** What is asked for: phrases, each of words; the last one may be the beginning of one. */
function read(asked) {
  const terms = [];
  for (const [, phrase, word] of asked.matchAll(/"([^"]*)"?|(\S+)/g)) {
    const text = phrase || word || "";
    const parts = (text.match(WORD) || []).map(fold);
    if (parts.length) terms.push({ parts, isBegun: text.endsWith("*") });
  }
  return terms;
}

/** A text with what was asked for marked. */
function marked(text, terms) {
  const found = [...text.matchAll(WORD)].map((match) => ({ at: match.index, end: match.index + match[0].length, word: fold(match[0]) }));
  const pieces = [];
  let done = 0;
  for (let place = 0; place < found.length; ) {
    const fits = terms.filter(({ parts, isBegun }) => parts.every((part, step) => {
      const word = found[place + step]?.word;
      return word === part || (isBegun && step === parts.length - 1 && word?.startsWith(part));
    }));
    const long = Math.max(0, ...fits.map((term) => term.parts.length));
    if (long) {
      const end = found[place + long - 1].end;
      pieces.push(text.slice(done, found[place].at), make("mark", {}, text.slice(found[place].at, end)));
      done = end;
    }
    place += long || 1;
  }
  return [...pieces, text.slice(done)];
}
