// The list of recordings, with filters that are kept in the address.

import { clock, count, day, fold, make, own, product, PRODUCTS, progress, put, renewed, size, time } from "./api.js";
import { rows } from "./rows.js";

const AGAIN_MS = 5000, READING_MS = 400, NOTE_MS = 150;
const KINDS = ["audio", "video", "share", "transcript", "chat"];
const STATUSES = ["complete", "interrupted", "failed", "recording", "unfinished", "revoked", "unreadable"];
const PERIODS = { "": "Any time", 1: "Last 24 hours", 7: "Last 7 days", 30: "Last 30 days", 365: "Last year" };
const TONES = new Map([["recording", "good"], ["interrupted", "warn"], ["unfinished", "warn"], ["failed", "bad"], ["unreadable", "bad"]]);
const COLUMNS = ["When", "Recording", "Media", "Length", "Size", "Status"];
const NARROW = matchMedia("(max-width: 760px)");
const ask = renewed("/api/recordings");

function name(entry) {
  return entry.title || [product(entry.product), entry.id].filter(Boolean).join(" ") || entry.name;
}

function words(entry) {
  entry.words ??= fold([entry.title, product(entry.product), entry.id, entry.name, entry.rtms_stream_id, ...entry.people].join("\n"));
  return entry.words;
}

function hours(seconds) {
  return seconds < 3600 ? count(Math.round(seconds / 60), "minute") : count(Math.round(seconds / 3600), "hour");
}

/** What is looked for; it can be said as the query of an address, and read from one. */
class Filters {
  constructor(params, changed) {
    const choice = (label, key, values, titles) => {
      const select = make("select", { "aria-label": label });
      for (const value of values) select.append(make("option", { value, selected: String(value) === params.get(key) }, titles[value] ?? value));
      return select;
    };
    this.text = make("input", { type: "search", placeholder: "Title, person, id or name", "aria-label": "Filter recordings", value: params.get("text") || "", autocomplete: "off" });
    this.losses = make("input", { type: "checkbox", checked: params.get("losses") === "1" });
    this.chosen = {
      product: choice("Product", "product", ["", ...Object.keys(PRODUCTS)], { "": "All products", ...PRODUCTS }),
      kind: choice("Media", "kind", ["", ...KINDS], { "": "Any media" }),
      status: choice("Status", "status", ["", ...STATUSES], { "": "Any status" }),
      days: choice("Period", "days", ["", ...Object.keys(PERIODS).filter(Boolean)], PERIODS),
    };
    this.more = make("button", { type: "button", class: "more", "aria-expanded": "false", "aria-controls": "filters" });
    const others = make("div", { class: "others", id: "filters" }, ...Object.values(this.chosen), make("label", { class: "check" }, this.losses, "With losses"));
    this.element = make("div", { class: "filters", role: "search", "aria-label": "Filter recordings" }, this.text, this.more, others);
    this.more.addEventListener("click", () => {
      const isOpen = others.classList.toggle("open");
      this.more.setAttribute("aria-expanded", String(isOpen));
    });
    this.element.addEventListener("input", () => {
      this.#say();
      changed();
    });
    this.#say();
  }

  #say() {
    const active = Object.values(this.chosen).filter((select) => select.value).length + this.losses.checked;
    this.more.textContent = active ? `Filters (${active})` : "Filters";
  }

  query() {
    const kept = new URLSearchParams();
    const values = { text: this.text.value.trim(), losses: this.losses.checked ? "1" : "" };
    for (const [key, select] of Object.entries(this.chosen)) values[key] = select.value;
    for (const [key, value] of Object.entries(values)) if (value) kept.set(key, value);
    return kept;
  }

  clear() {
    this.text.value = "";
    this.losses.checked = false;
    for (const select of Object.values(this.chosen)) select.value = "";
    this.#say();
  }

  of(entries) {
    const { product: which, kind, status, days } = this.chosen;
    const wanted = fold(this.text.value).split(/\s+/).filter(Boolean);
    const since = days.value ? Date.now() - Number(days.value) * 86400e3 : 0;
    return entries.filter((entry) =>
      (!which.value || entry.product === which.value) &&
      (!kind.value || entry.kinds.includes(kind.value)) &&
      (!status.value || entry.status === status.value) &&
      (!this.losses.checked || entry.losses > 0) &&
      (!since || Date.parse(entry.started_at) >= since) &&
      wanted.every((word) => words(entry).includes(word)));
  }
}

/** The cells of a row. */
function cells(entry, link, more) {
  const cell = (kind, ...children) => make("div", { class: kind, role: "gridcell" }, ...children);
  const people = entry.problem ? [entry.problem] : entry.people.length ? entry.people : [entry.name];
  const status = TONES.has(entry.status) ? make("span", { class: `badge ${TONES.get(entry.status)}` }, entry.status === "recording" ? "● recording" : entry.status) : make("span", { class: "usual" }, entry.status);
  const losses = entry.losses ? make("span", { class: "losses" }, count(entry.losses, "loss", "losses")) : null;
  return [
    cell("when", make("b", {}, day(entry.started_at) || "—"), " ", make("span", {}, time(entry.started_at))),
    cell("what", make("div", { class: "name" }, make("a", { href: link, tabindex: "-1", title: `${name(entry)}\n${entry.name}` }, name(entry)), more), make("span", { class: "people", title: people.join(", ") }, ...people.flatMap((one, at) => [at ? ", " : "", make("bdi", {}, one)]))),
    cell("kinds", entry.kinds.join(", ")),
    cell("long", clock(entry.seconds)),
    cell("size", size(entry.nbytes)),
    cell("state", status, losses),
  ];
}

function told(entry) {
  return [name(entry), entry.status, entry.losses ? count(entry.losses, "loss", "losses") : "", day(entry.started_at), time(entry.started_at), clock(entry.seconds), entry.people.join(", ")].filter(Boolean).join(", ");
}

/** The field in which a recording is named; `end` is told the title that the server has, or `null`. */
function naming(entry, problem, end) {
  const field = make("input", { value: entry.title || "", "aria-label": `Title of ${name(entry)}`, maxlength: "200", autocomplete: "off" });
  const save = make("button", { class: "main" }, "Save");
  const form = make("form", { class: "rename" }, field, save);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    save.disabled = true;
    try {
      end(await put(`/api${own(entry.link)}/title`, { title: field.value }));
    } catch (error) {
      problem.textContent = error.status ? `${error.message} ${error.remedy || ""}` : "The server does not answer. Try again.";
      problem.hidden = false;
      save.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing) return;
    event.stopPropagation();
    end(null);
  });
  return { form, field };
}

export function show(main, params, shell) {
  const controller = new AbortController();
  const { signal } = controller;
  const summary = make("p", { class: "under", role: "status" });
  const foot = make("div", { class: "foot" });
  const none = make("div", { class: "none", hidden: true });
  const reading = progress("Reading");
  const problem = make("p", { class: "problem", hidden: true, role: "alert" });
  const old = make("p", { class: "problem", hidden: true, role: "alert" });
  let back = history.state?.list, entries = [], isFirst = true, refused = null, last = null, round = 0, timer = 0, noting = 0;

  const filters = new Filters(params, () => {
    list.element.scrollTop = 0;
    draw();
    note();
  });
  const list = rows({ label: "Recordings", columns: COLUMNS, height: () => (NARROW.matches ? 64 : 56), key: (entry) => entry.link, fill, open, moved: noteSoon });
  const card = make("section", { class: "card wide", "aria-label": "Recordings" }, list.element, none, foot);
  shell.title("Recordings");
  document.body.classList.add("filling");
  main.append(make("div", { class: "head" }, make("h1", {}, "Recordings"), summary), filters.element, old, problem, reading.element, card);

  function link(entry) {
    return entry.status === "recording" && shell.about.has_live && entry.rtms_stream_id ? `/live/${encodeURIComponent(entry.rtms_stream_id)}` : own(entry.link);
  }
  function open(entry) {
    note();
    shell.go(link(entry));
  }
  function note() {
    clearTimeout(noting);
    if (location.pathname !== "/recordings") return; // another page is on its way
    const query = filters.query();
    shell.note(`/recordings${query.size ? `?${query}` : ""}`, { list: list.place() });
  }
  function noteSoon() {
    clearTimeout(noting);
    noting = setTimeout(note, NOTE_MS);
  }

  function fill(entry, row, before) {
    if (before && before.link === entry.link && row.querySelector("form")) return;
    row.className = "row recording";
    const canName = shell.about.control && !["recording", "unfinished", "unreadable"].includes(entry.status);
    const pen = canName ? make("button", { type: "button", class: "quiet pen", tabindex: "-1", "aria-label": `Name ${name(entry)}`, title: "Name it (F2)", onclick: () => rename(row) }, "✎") : null;
    row.replaceChildren(...cells(entry, link(entry), pen));
    row.setAttribute("aria-label", told(entry));
    row.setAttribute("aria-keyshortcuts", canName ? "F2" : "");
  }

  function rename(row) {
    const entry = row.item;
    const { form, field } = naming(entry, problem, (saved) => {
      problem.hidden = true;
      form.remove();
      if (saved) {
        Object.assign(entry, { title: saved.title, words: undefined });
        shell.announce(saved.title ? `The title is ${saved.title}.` : "The title is gone.");
      }
      list.refill(entry);
      list.focus();
      refresh();
    });
    row.querySelector(".what").replaceChildren(form);
    field.focus();
    field.select();
  }
  list.element.addEventListener("keydown", (event) => {
    const row = event.target;
    if (event.key !== "F2" || !row.classList.contains("row") || !row.querySelector(".pen")) return;
    event.preventDefault();
    rename(row);
  });

  function draw() {
    const shown = filters.of(entries);
    const where = shell.about.place ? ` in ${shell.about.place}` : "";
    const all = count(entries.length, "recording");
    summary.textContent = isFirst ? "" : `${shown.length === entries.length ? all : `${shown.length.toLocaleString("en")} of ${all}`}${where}`;
    let seconds = 0, nbytes = 0, lossy = 0;
    for (const entry of shown) {
      seconds += entry.seconds;
      nbytes += entry.nbytes;
      lossy += entry.losses > 0;
    }
    foot.replaceChildren(...[hours(seconds), size(nbytes), lossy ? `${count(lossy, "recording")} with losses` : "no losses"].map((one) => make("span", {}, one)));
    foot.hidden = list.element.hidden = !shown.length;
    none.hidden = isFirst && !refused || shown.length > 0;
    if (!none.hidden) none.replaceChildren(...empty());
    list.show(shown);
  }

  function empty() {
    if (refused) return [make("p", {}, refused.message), make("p", {}, refused.remedy || "")];
    if (entries.length) return [make("p", {}, "No recording fits these filters."), make("p", {}, make("button", { type: "button", onclick: clear }, "Show all"))];
    return [
      make("p", {}, "There are no recordings here yet."),
      make("p", {}, "Run ", make("code", {}, "rtms listen"), " to record what Zoom streams, or ", make("code", {}, "rtms demo"), " to make one without Zoom."),
      make("p", {}, "This page shows them when they begin."),
    ];
  }
  function clear() {
    filters.clear();
    draw();
    note();
    filters.text.focus();
  }

  filters.text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "ArrowDown" || event.isComposing) return;
    event.preventDefault();
    list.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (!["j", "k"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.defaultPrevented || event.target.closest("input, select, button, dialog, .rows")) return;
    event.preventDefault();
    list.focus();
  }, { signal });

  function take(answer) {
    refused = null;
    if (answer !== last) {
      last = answer;
      entries = answer.recordings;
      isFirst = !entries.length && Boolean(answer.reading);
      old.hidden = !answer.problem;
      old.textContent = answer.problem ? `This list may be old. ${answer.problem}` : "";
      draw();
    }
    reading.show(answer.reading);
    if (answer.reading) return READING_MS;
    if (back) list.restore(back);
    back = null;
    return AGAIN_MS;
  }

  async function refresh() {
    clearTimeout(timer);
    const mine = ++round;
    let wait = AGAIN_MS;
    try {
      const hadRefused = refused;
      const answer = await ask(signal);
      if (mine !== round) return;
      shell.lost("");
      wait = take(answer);
      if (hadRefused) draw();
    } catch (error) {
      if (signal.aborted || mine !== round) return;
      if (error.status) {
        refused = error;
        draw();
      } else shell.lost(shell.LOST);
    }
    timer = setTimeout(() => {
      if (document.hidden) document.addEventListener("visibilitychange", refresh, { once: true, signal });
      else refresh();
    }, wait);
  }

  draw();
  refresh();
  return () => {
    controller.abort();
    clearTimeout(timer);
    clearTimeout(noting);
    document.body.classList.remove("filling");
    list.end();
  };
}
