// The list of recordings, with filters that are kept in the address.

import { clock, count, day, make, own, product, PRODUCTS, put, renewed, size, time } from "./api.js";
import { rows } from "./rows.js";

const AGAIN_MS = 5000, READING_MS = 400;
const KINDS = ["audio", "video", "share", "transcript", "chat"];
const STATUSES = ["complete", "interrupted", "failed", "recording", "unfinished", "revoked", "unreadable"];
const PERIODS = { "": "Any time", 1: "Last 24 hours", 7: "Last 7 days", 30: "Last 30 days", 365: "Last year" };
const TONES = { complete: "good", recording: "good", interrupted: "warn", unfinished: "warn", failed: "bad", unreadable: "bad", revoked: "" };
const ask = renewed("/api/recordings");

export function name(entry) {
  return entry.title || [product(entry.product), entry.id].filter(Boolean).join(" ") || entry.name;
}

function choice(label, values, value, titles = {}) {
  const select = make("select", { "aria-label": label });
  for (const one of values) select.append(make("option", { value: one, selected: String(one) === value }, titles[one] ?? one));
  return select;
}

export function show(main, params, shell) {
  shell.title("Recordings");
  const controller = new AbortController();
  const given = (key) => params.get(key) || "";
  const text = make("input", { type: "search", placeholder: "Filter by title, id, person or name", "aria-label": "Filter recordings", value: given("text") });
  const which = choice("Product", ["", ...Object.keys(PRODUCTS)], given("product"), { "": "All products", ...PRODUCTS });
  const kind = choice("Media", ["", ...KINDS], given("kind"), { "": "Any media" });
  const status = choice("Status", ["", ...STATUSES], given("status"), { "": "Any status" });
  const period = choice("Period", Object.keys(PERIODS), given("days"), PERIODS);
  const losses = make("input", { type: "checkbox", checked: given("losses") === "1" });
  const summary = make("p", { class: "under", role: "status" });
  const foot = make("div", { class: "foot" });
  const none = make("div", { class: "none", hidden: true });
  const reading = make("progress", { hidden: true, "aria-label": "Reading the recordings" });
  const problem = make("p", { class: "badge bad", hidden: true, role: "alert" });
  let entries = [], isFirst = true, timer = 0, isNaming = false;

  const list = rows({
    label: "Recordings",
    height: () => (matchMedia("(max-width: 760px)").matches ? 64 : 56),
    key: (entry) => entry.link,
    fill,
    open: (entry) => shell.go(target(entry)),
  });
  const columns = make("div", { class: "columns", "aria-hidden": "true" }, ...["when", "recording", "media", "length", "size", "status"].map((one) => make("span", {}, one)));
  const card = make("section", { class: "card wide", "aria-label": "Recordings" }, columns, list.element, none, foot);
  main.append(
    make("div", { class: "head" }, make("h1", {}, "Recordings"), summary, problem),
    make("div", { class: "filters", role: "search", "aria-label": "Filter recordings" }, text, which, kind, status, period, make("label", { class: "check" }, losses, "With losses")),
    reading,
    card,
  );

  function target(entry) {
    return entry.status === "recording" && shell.about.has_live && entry.rtms_stream_id ? `/live/${encodeURIComponent(entry.rtms_stream_id)}` : own(entry.link);
  }

  function fill(entry, row) {
    row.className = "row recording";
    const people = entry.people.length ? entry.people.join(", ") : entry.name;
    const lost = entry.losses ? make("span", { class: "badge bad" }, count(entry.losses, "loss", "losses")) : make("span", { class: `badge ${TONES[entry.status] || ""}` }, entry.status === "recording" ? "● recording" : entry.status);
    const title = make("a", { href: target(entry), tabindex: "-1", title: entry.name }, name(entry));
    const what = make("div", { class: "what" }, title, make("span", { title: people }, entry.problem || people));
    if (shell.about.control && !["recording", "unfinished", "unreadable"].includes(entry.status)) {
      what.addEventListener("dblclick", () => rename(entry, what));
    }
    row.replaceChildren(
      make("div", { class: "when" }, make("b", {}, day(entry.started_at) || "—"), " ", time(entry.started_at)),
      what,
      make("div", { class: "kinds" }, entry.kinds.join(", ")),
      make("div", { class: "long" }, clock(entry.seconds)),
      make("div", { class: "size" }, size(entry.nbytes)),
      make("div", { class: "state" }, lost),
    );
    row.setAttribute("aria-label", [name(entry), entry.status, day(entry.started_at), clock(entry.seconds), entry.losses ? count(entry.losses, "loss", "losses") : ""].filter(Boolean).join(", "));
  }

  function rename(entry, place) {
    isNaming = true;
    const field = make("input", { value: entry.title || "", "aria-label": "Title", maxlength: "200" });
    const done = () => {
      isNaming = false;
      list.redraw();
      list.focus();
    };
    const form = make("form", { class: "rename", onsubmit: async (event) => {
      event.preventDefault();
      try {
        await put(`/api${own(entry.link)}/title`, { title: field.value });
        shell.announce(`The title is ${field.value || "gone"}.`);
        problem.hidden = true;
        done();
        refresh();
      } catch (error) {
        problem.textContent = `${error.message} ${error.remedy || ""}`;
        problem.hidden = false;
      }
    } }, field, make("button", { class: "main" }, "Save"));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        done();
      }
    });
    place.replaceChildren(form);
    field.focus();
  }
  list.element.addEventListener("keydown", (event) => {
    if (event.key !== "F2" || !shell.about.control) return;
    const row = document.getElementById(list.element.getAttribute("aria-activedescendant"));
    if (row) rename(row.item, row.querySelector(".what"));
  });

  function filtered() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const since = period.value ? Date.now() - Number(period.value) * 86400e3 : 0;
    return entries.filter((entry) =>
      (!which.value || entry.product === which.value) &&
      (!kind.value || entry.kinds.includes(kind.value)) &&
      (!status.value || entry.status === status.value) &&
      (!losses.checked || entry.losses > 0) &&
      (!since || new Date(entry.started_at).getTime() >= since) &&
      words.every((word) => entry.words.includes(word)));
  }

  function draw() {
    const shown = filtered();
    const isAll = shown.length === entries.length;
    summary.textContent = isFirst ? "" : isAll ? count(entries.length, "recording") : `${shown.length.toLocaleString("en")} of ${count(entries.length, "recording")}`;
    let seconds = 0, nbytes = 0, lost = 0;
    for (const entry of shown) {
      seconds += entry.seconds;
      nbytes += entry.nbytes;
      lost += entry.losses > 0;
    }
    foot.replaceChildren(...[`${clock(seconds)} in all`, size(nbytes), lost ? `${count(lost, "recording")} with losses` : "nothing lost"].map((one) => make("span", {}, one)));
    foot.hidden = list.element.hidden = columns.hidden = !shown.length;
    none.hidden = isFirst || shown.length > 0;
    if (!none.hidden) {
      none.replaceChildren(...(entries.length
        ? [make("p", {}, "No recording fits these filters."), make("p", {}, make("button", { type: "button", onclick: clear }, "Show all"))]
        : [make("p", {}, `There is no recording in ${shell.about.place || "this place"} yet.`), make("p", {}, "A recorder makes them: ", make("code", {}, "rtms listen"), ", or try ", make("code", {}, "rtms demo"), ".")]));
    }
    if (!isNaming) list.show(shown);
  }

  function clear() {
    text.value = which.value = kind.value = status.value = period.value = "";
    losses.checked = false;
    changed();
    text.focus();
  }

  function changed() {
    const kept = new URLSearchParams();
    for (const [key, value] of [["text", text.value], ["product", which.value], ["kind", kind.value], ["status", status.value], ["days", period.value], ["losses", losses.checked ? "1" : ""]]) if (value) kept.set(key, value);
    shell.note(`/recordings${kept.size ? `?${kept}` : ""}`);
    list.element.scrollTop = 0;
    draw();
  }
  for (const field of [which, kind, status, period, losses]) field.addEventListener("change", changed);
  text.addEventListener("input", changed);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      list.focus();
    }
  });

  let last = null;
  async function refresh() {
    clearTimeout(timer);
    let wait = AGAIN_MS;
    try {
      const answer = await ask(controller.signal);
      shell.lost("");
      if (answer !== last) {
        last = answer;
        entries = answer.recordings;
        for (const entry of entries) entry.words = [entry.title, entry.id, entry.name, entry.rtms_stream_id, ...entry.people].join("\n").toLowerCase();
        isFirst = false;
        draw();
      }
      reading.hidden = !answer.reading;
      if (answer.reading) {
        reading.max = answer.reading.total || 1;
        reading.value = answer.reading.done;
        wait = READING_MS;
      }
    } catch (error) {
      if (controller.signal.aborted) return;
      if (error.status) {
        none.hidden = false;
        none.replaceChildren(make("p", {}, error.message), make("p", {}, error.remedy || ""));
      } else shell.lost("The server does not answer. This page tries again by itself.");
    }
    timer = setTimeout(() => (document.hidden ? waitUntilSeen() : refresh()), wait);
  }
  function waitUntilSeen() {
    document.addEventListener("visibilitychange", refresh, { once: true, signal: controller.signal });
  }
  draw();
  refresh();
  return () => {
    controller.abort();
    clearTimeout(timer);
    list.end();
  };
}
