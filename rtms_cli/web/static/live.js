/* What runs: every stream in a row, those with trouble first, and what belongs to none. */

import {
  Again, Meter, Spark, alarm, capital, clock, count, foreign, inNextFrame, keepAliveGrade, keepAliveWords, keyed, live, make,
  many, put, putBadge, rate, recording, show as reveal, size, slowest, spoken, stateOf, timeOfDay, titleOf, told,
} from "./parts.js";

const MOST_ROWS = 200; // that are drawn at once; a filter finds the others
const MOST_LOGGED = 150;
const MOST_ALARMS = 6;
const RECENT_MS = 15 * 60_000; // older warnings are in the log only
const KINDS = ["audio", "video", "share", "transcript", "chat", "other"];

/* How much trouble a stream has: 0 is the most. */
function rankOf(row) {
  if (row.state === "lost") return 0;
  const grade = keepAliveGrade(row.keep_alives);
  if (grade === "bad") return 1;
  if (row.losses) return 2;
  if (grade === "warn") return 3;
  if (row.warnings || row.reconnects) return 4;
  return 5;
}

class StreamRow {
  constructor(row) {
    this.element = make("div", "stream");
    this.element.setAttribute("role", "row");
    const cell = (className, ...children) => {
      const element = make("div", className);
      element.setAttribute("role", "cell");
      element.append(...children);
      this.element.append(element);
      return element;
    };
    this.badge = make("span", "badge");
    this.time = make("span", "small");
    cell("state", this.badge, this.time);
    this.link = foreign("a", "name", "");
    this.link.href = live(row.stream_id);
    this.id = foreign("span", "small id", row.stream_id);
    this.id.title = row.stream_id;
    cell("what", this.link, this.id);
    this.meter = new Meter("Level");
    this.speaker = foreign("span", "small", "");
    cell("sound", this.meter.element, this.speaker);
    this.rate = make("span", "rate");
    this.spark = new Spark();
    this.kinds = make("span", "small");
    const line = make("span", "line-of-rate");
    line.append(this.rate, this.spark.element);
    cell("rates", line, this.kinds);
    this.alive = make("span");
    this.slowest = make("span", "small");
    cell("alive", this.alive, this.slowest);
    this.trouble = cell("trouble");
    this.was = "";
  }

  update(row, feed) {
    const rates = feed.rates(row.stream_id);
    putBadge(this.badge, ...stateOf(row.state, true));
    put(this.time, clock(row.seconds));
    put(this.link, titleOf(row));
    put(this.id, [row.stream_id, row.worker === null || row.worker === undefined ? "" : `worker ${row.worker}`].filter(Boolean).join(" · "));
    this.meter.set(row.level);
    put(this.speaker, row.speaker || many(row.people, "person", "people"));
    put(this.rate, `${rate(rates.total)}/s`);
    this.spark.set(rates.history);
    const kinds = kindsOf(rates.kinds);
    put(this.kinds, kinds);
    this.kinds.title = kinds;
    put(this.alive, keepAliveWords(row.keep_alives));
    this.alive.className = keepAliveGrade(row.keep_alives);
    put(this.slowest, slowest(row.keep_alives));
    const trouble = `${row.losses}/${row.reconnects}/${row.warnings}`;
    if (trouble !== this.was) {
      this.was = trouble;
      this.trouble.replaceChildren(
        ...[
          row.losses && make("span", "badge bad", many(row.losses, "loss", "losses")),
          row.reconnects && make("span", "badge warn", many(row.reconnects, "reconnection")),
          row.warnings && make("span", "badge warn", many(row.warnings, "warning")),
        ].filter(Boolean),
      );
    }
  }
}

/* "50 audio, 2 transcript" */
export function kindsOf(kinds) {
  return KINDS.filter((kind) => kinds[kind] >= 0.05).map((kind) => `${rate(kinds[kind])} ${kind}`).join(", ");
}

/* A card with a heading and a place for what it has. */
function card(title, tag = "div", className = "") {
  const section = make("section", `card ${className}`.trim());
  const head = make("div", "head");
  const heading = make("h2", "", title);
  head.append(heading);
  const body = make(tag);
  section.setAttribute("aria-label", title);
  section.append(head, body);
  return { section, head, heading, body };
}

class Overview {
  constructor(main, shell) {
    this.shell = shell;
    this.feed = shell.feed;
    this.rows = new Map();
    this.logged = 0;
    this.again = new Again();
    this.alarmed = "";
    this.side = "";
    this.soon = inNextFrame(() => this.draw());
    this.dirty = new Set(["picture", "event"]);
    this.build(main);
    this.unsubscribe = this.feed.subscribe((kind) => {
      this.dirty.add(kind);
      this.soon();
    });
    this.draw();
  }

  build(main) {
    this.root = make("div", "live");
    const head = make("header", "top");
    const words = make("div");
    const title = make("div", "title");
    this.heading = make("h1", "", "Live");
    this.heading.tabIndex = -1;
    this.badge = make("span", "badge");
    title.append(this.heading, this.badge);
    this.under = make("div", "under");
    words.append(title, this.under);
    this.tiles = make("div", "tiles");
    this.numbers = {};
    for (const [key, name] of [["streams", "streams"], ["people", "people"], ["rate", "messages/s"], ["losses", "losses"], ["disk", "free on disk"]]) {
      const tile = make("div", "tile"), number = make("b", "", "–");
      tile.append(number, make("span", "", name));
      this.tiles.append(tile);
      this.numbers[key] = { tile, number };
    }
    head.append(words, this.tiles);

    this.alarms = make("section", "card alarms");
    this.alarms.setAttribute("aria-label", "Warnings and losses");
    this.alarms.tabIndex = 0;
    this.alarms.hidden = true;
    this.empty = make("section", "card empty");
    this.empty.hidden = true;

    const both = make("div", "both");
    const list = card("Streams", "div", "streams");
    this.list = list;
    this.filter = make("input");
    this.filter.type = "search";
    this.filter.placeholder = "Filter";
    this.filter.setAttribute("aria-label", "Filter the streams");
    this.filter.addEventListener("input", () => this.drawStreams());
    this.trouble = make("button", "", "With trouble");
    this.trouble.type = "button";
    this.trouble.setAttribute("aria-pressed", "false");
    this.trouble.addEventListener("click", () => {
      this.trouble.setAttribute("aria-pressed", String(this.trouble.getAttribute("aria-pressed") !== "true"));
      this.drawStreams();
    });
    list.head.append(this.filter, this.trouble);
    list.body.setAttribute("role", "table");
    list.body.setAttribute("aria-label", "Streams");
    const header = make("div", "stream header");
    header.setAttribute("role", "row");
    for (const name of ["State", "Stream", "Sound", "Messages", "Keep-alive", "Trouble"]) {
      const cell = make("div", "", name);
      cell.setAttribute("role", "columnheader");
      header.append(cell);
    }
    this.body = make("div");
    this.body.setAttribute("role", "rowgroup");
    this.ended = new AbortController();
    document.addEventListener("keydown", (event) => this.key(event), { signal: this.ended.signal });
    list.body.append(header, this.body);
    this.more = make("div", "note");
    this.more.hidden = true;
    list.section.append(this.more);

    const side = make("div", "side");
    this.connections = card("Connections", "ul");
    this.workers = card("Workers", "ul");
    this.ignored = card("Webhooks that started nothing", "ul");
    this.log = card("Log", "ol", "log");
    this.quiet = make("div", "none", "Nothing has happened yet.");
    this.log.section.append(this.quiet);
    for (const one of [this.connections, this.workers, this.ignored]) one.section.hidden = true;
    for (const one of [this.ignored, this.log]) {
      one.body.tabIndex = 0;
      one.body.setAttribute("aria-label", one.heading.textContent);
    }
    side.append(this.connections.section, this.workers.section, this.ignored.section, this.log.section);
    both.append(list.section, side);
    this.both = both;
    this.root.append(head, this.alarms, this.empty, both);
    main.replaceChildren(this.root);
  }

  key(event) {
    const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.("input, select, textarea, dialog")) return;
    const links = [...this.body.querySelectorAll("a.name")];
    const place = links.indexOf(document.activeElement);
    const isNowhere = document.activeElement === document.body || document.activeElement === this.heading;
    if (!links.length || (place < 0 && !(isNowhere && event.key.length === 1))) return;
    event.preventDefault();
    links[Math.max(0, Math.min(links.length - 1, place + step))].focus();
  }

  draw() {
    const dirty = this.dirty;
    this.dirty = new Set();
    if (dirty.has("hello") || dirty.has("picture") || dirty.has("state")) this.drawHead();
    if (dirty.has("picture") || dirty.has("hello")) {
      this.drawStreams();
      this.drawSide();
    }
    if (dirty.has("event") || dirty.has("hello")) this.drawLog();
    if (dirty.size) this.drawAlarms();
  }

  drawHead() {
    const { feed } = this, picture = feed.picture, recorder = feed.recorder;
    const streams = picture?.streams ?? [];
    if (feed.state === "lost") putBadge(this.badge, "✗", `no connection since ${timeOfDay(feed.since)}`, "bad");
    else if (recorder === "gone") putBadge(this.badge, "✗", `recorder gone since ${timeOfDay(picture.lost_at)}`, "bad");
    else if (recorder === "none") putBadge(this.badge, "○", "no recorder", "");
    else if (feed.state !== "connected") putBadge(this.badge, "◌", feed.state, "");
    else if (picture?.is_stopping) putBadge(this.badge, "○", "stopping", "warn");
    else if (picture?.not_ready.length) putBadge(this.badge, "◌", "takes no streams now", "warn");
    else putBadge(this.badge, "●", streams.length ? "recording" : "ready", "good");
    const hello = feed.hello;
    put(this.under, hello?.title ? `${hello.title}  ·  since ${sinceWords(hello.since)}` : "");
    const total = streams.reduce((sum, row) => sum + feed.rates(row.stream_id).total, 0);
    const losses = streams.reduce((sum, row) => sum + row.losses, 0);
    put(this.numbers.streams.number, count(streams.length));
    put(this.numbers.people.number, count(streams.reduce((sum, row) => sum + row.people, 0)));
    put(this.numbers.rate.number, rate(total));
    put(this.numbers.losses.number, count(losses));
    this.numbers.losses.tile.classList.toggle("bad", losses > 0);
    put(this.numbers.disk.number, picture?.free_nbytes ? size(picture.free_nbytes) : "–");
    reveal(this.tiles, recorder === "yes" || recorder === "gone");
  }

  drawAlarms() {
    const { feed } = this, picture = feed.picture, streams = picture?.streams ?? [];
    const alarms = [];
    if (feed.recorder === "gone") alarms.push(["bad", "The recorder cannot be reached. This page will notice when it is back; below is how it stood."]);
    for (const why of feed.recorder === "yes" ? picture.not_ready : []) alarms.push(["warn", `No stream would be taken now: ${why}`]);
    for (const one of picture?.connections ?? []) if (!one.is_good) alarms.push(["warn", one.text]);
    for (const row of streams.filter((row) => rankOf(row) < 4).sort((one, other) => rankOf(one) - rankOf(other)).slice(0, MOST_ALARMS)) {
      const what = [
        row.state === "lost" ? "lost, coming back" : "",
        row.losses ? many(row.losses, "loss", "losses") : "",
        keepAliveGrade(row.keep_alives) ? `keep-alive ${keepAliveWords(row.keep_alives).replace(/\d.* ago, /, "")}` : "",
      ].filter(Boolean).join(", ");
      alarms.push([rankOf(row) < 3 ? "bad" : "warn", what, row.stream_id, titleOf(row)]);
    }
    const recent = feed.events.items.filter((event) => event.is_warning && Date.parse(event.at) > feed.now() - RECENT_MS).slice(-3).reverse();
    for (const event of recent) {
      const id = event.stream_id, row = id ? feed.row(id) : null;
      alarms.push(["warn", told(event), id, row ? titleOf(row) : id, timeOfDay(event.at)]);
    }
    const key = JSON.stringify(alarms);
    if (key === this.alarmed) return;
    this.alarmed = key;
    const list = make("ul");
    for (const [grade, text, id, name, at] of alarms) {
      const link = id ? foreign("a", "", name) : null;
      if (link) link.href = live(id);
      list.append(alarm(grade, text, at, link));
    }
    this.alarms.replaceChildren(list);
    reveal(this.alarms, alarms.length > 0);
  }

  drawStreams() {
    const { feed } = this, picture = feed.picture;
    const all = picture?.streams ?? [];
    this.drawEmpty(all);
    const wanted = this.filter.value.trim().toLowerCase();
    const onlyTrouble = this.trouble.getAttribute("aria-pressed") === "true";
    const found = all.filter((row) =>
      (!onlyTrouble || rankOf(row) < 5)
      && (!wanted || `${titleOf(row)}\n${row.stream_id}\n${row.speaker}\n${row.state}\n${row.recording ?? ""}`.toLowerCase().includes(wanted)));
    const ranked = found.map((row, place) => ({ row, rank: rankOf(row), place }));
    ranked.sort((one, other) => one.rank - other.rank || one.place - other.place);
    const shown = ranked.slice(0, MOST_ROWS).map(({ row }) => row);
    keyed(this.body, this.rows, shown, (row) => row.stream_id, (row) => new StreamRow(row), (one, row) => one.update(row, feed));
    put(this.list.heading, found.length === all.length ? `Streams ${count(all.length)}` : `Streams ${count(found.length)} of ${count(all.length)}`);
    put(this.more, found.length > shown.length ? `${count(found.length - shown.length)} more: filter to find them.` : all.length && !found.length ? "No stream is like that." : "");
    reveal(this.more, this.more.textContent !== "");
  }

  /* What to do where nothing runs. */
  drawEmpty(streams) {
    const { feed } = this, recorder = feed.recorder;
    const isEmpty = !streams.length && recorder !== "unknown";
    reveal(this.empty, isEmpty);
    reveal(this.list.section, !isEmpty || streams.length > 0);
    reveal(this.both, recorder === "yes" || recorder === "gone");
    this.both.classList.toggle("alone", isEmpty);
    if (!isEmpty) return;
    const hints = feed.picture.hints;
    const key = `${recorder}\n${hints.join("\n")}`;
    if (key === this.emptied) return;
    this.emptied = key;
    const commands = make("ul", "commands");
    if (recorder === "none") {
      for (const [command, what] of [["rtms listen", "waits for webhooks and records each stream"], ["rtms demo", "records a made-up meeting, to try it"]]) {
        const item = make("li");
        item.append(make("code", "", command), make("span", "", ` ${what}`));
        commands.append(item);
      }
      this.empty.replaceChildren(
        make("h2", "", "No recorder runs here"),
        make("p", "", "Start one on this machine, in another terminal:"), commands,
        make("p", "", "This page will notice it by itself."),
      );
    } else {
      for (const hint of hints) commands.append(foreign("li", "", hint));
      const past = make("p", "", "What was recorded is under ");
      const link = make("a", "", "Recordings");
      link.href = "/recordings";
      past.append(link, ".");
      this.empty.replaceChildren(make("h2", "", "No stream runs now"), make("p", "", "It will appear here as soon as it begins."), commands, past);
    }
  }

  drawSide() {
    const picture = this.feed.picture;
    if (!picture) return;
    const { connections, workers, ignored, ignored_count: ignoredCount } = picture;
    const key = JSON.stringify([connections, workers, ignored, ignoredCount]);
    if (key === this.side) return;
    this.side = key;
    reveal(this.connections.section, connections.length > 0);
    this.connections.body.replaceChildren(...connections.map((one) => {
      const item = make("li", one.is_good ? "good" : "warn");
      item.append(make("span", "sign", one.is_good ? "●" : "◌"), foreign("span", "", one.text));
      return item;
    }));
    reveal(this.workers.section, workers.length > 0);
    this.workers.body.replaceChildren(...workers.map(workerItem));
    reveal(this.ignored.section, ignoredCount > 0);
    put(this.ignored.heading, `Webhooks that started nothing ${count(ignoredCount)}`);
    this.ignored.body.replaceChildren(...[...ignored].reverse().map((one) => {
      const item = make("li");
      item.append(make("time", "", timeOfDay(one.at)), foreign("b", "", one.what), foreign("span", "why", one.why));
      return item;
    }));
  }

  drawLog() {
    const { items, revision } = this.feed.events;
    if (revision !== this.revision) {
      this.revision = revision;
      this.logged = 0;
      this.again = new Again();
      this.log.body.replaceChildren();
    }
    const fresh = items.slice(this.logged);
    this.logged = items.length;
    const lines = [];
    for (const event of fresh) lines.push([event, this.again.see(event)]);
    for (const [event, again] of lines.slice(-MOST_LOGGED)) this.log.body.prepend(logItem(event, again));
    while (this.log.body.childElementCount > MOST_LOGGED) this.log.body.lastElementChild.remove();
    reveal(this.quiet, !this.log.body.childElementCount);
  }

  end() {
    this.ended.abort();
    this.unsubscribe();
    this.soon.end();
  }
}

function sinceWords(at) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  return date.toDateString() === new Date().toDateString() ? timeOfDay(at) : date.toLocaleString("en-GB");
}

function workerItem(one) {
  const item = make("li", ["working", "full"].includes(one.state) ? "" : "warn");
  const facts = [
    one.state,
    one.slots === null || one.slots === undefined ? many(one.streams, "stream") : `${count(one.streams)} of ${many(one.slots, "stream")}`,
    one.restarts ? many(one.restarts, "restart") : "",
    one.silent_s ? `heard ${spoken(one.silent_s)} ago` : "",
  ];
  item.append(foreign("b", "", capital(one.name)), foreign("span", "", facts.filter(Boolean).join(" · ")));
  return item;
}

function logItem(event, again) {
  const item = make("li", event.is_warning ? "warn" : again ? "again" : "");
  item.append(make("time", "", timeOfDay(event.at)));
  if (event.is_warning) item.append(make("span", "sign", "!"));
  if (event.stream_id) {
    const link = foreign("a", "", event.stream_id);
    link.href = live(event.stream_id);
    link.title = event.stream_id;
    item.append(link);
  }
  const text = foreign("span", "why", told(event, again));
  item.append(text);
  if (event.event === "finished" && event.recording) {
    const link = make("a", "", "Open");
    link.href = recording(event.recording);
    link.setAttribute("aria-label", `Open ${event.recording}`);
    item.append(link);
  }
  return item;
}

export function show(main, params, shell) {
  shell.title("Live");
  const overview = new Overview(main, shell);
  return () => overview.end();
}
