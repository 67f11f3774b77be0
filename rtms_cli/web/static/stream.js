/* One stream: how it stands, and what is said and written in it, as it comes. */

import { Lines } from "./lines.js";
import {
  Again, Meter, Spark, alarm, capital, clock, count, foreign, inNextFrame, keepAliveGrade, keepAliveWords, keyed, make, many,
  put, putBadge, rate, recording, show as reveal, size, slowest, spoken, stateOf, timeOfDay, titleOf, told,
} from "./parts.js";

const MOST_PEOPLE = 60, MOST_TRACKS = 200, MOST_WARNINGS = 50;
const PHASES = {
  up: ["●", "up", "good"], opening: ["◌", "opening", "warn"], handshake: ["◐", "handshake", "warn"],
  waiting: ["✗", "lost, tries again", "bad"], gone: ["○", "gone", ""], idle: ["○", "idle", ""],
};
const GRADES = { complete: "good", interrupted: "warn", failed: "bad", revoked: "bad" };
const TITLES = { words: "Transcript", chat: "Chat", other: "Events" };

function section(title, ...children) {
  const element = make("section", "card");
  const head = make("div", "head");
  const heading = make("h2", "", title);
  head.append(heading);
  element.append(head, ...children);
  element.setAttribute("aria-label", title);
  return { element, head, heading };
}

function folded(title, ...children) {
  const element = make("details", "card"), summary = make("summary", "", title), number = make("span");
  summary.append(number);
  element.append(summary, ...children);
  return { element, number };
}

function table(names) {
  const wrap = make("div", "wrap"), element = make("table"), head = make("tr"), body = make("tbody");
  wrap.tabIndex = 0;
  wrap.setAttribute("role", "region");
  for (const name of names) {
    const cell = make("th", name.endsWith("#") ? "number" : "", name.replace("#", ""));
    cell.scope = "col";
    head.append(cell);
  }
  const thead = make("thead");
  thead.append(head);
  element.append(thead, body);
  wrap.append(element);
  return { wrap, body, known: new Map() };
}

/* Rows of text that are kept, and changed only where they differ. */
function fill(which, rows) {
  keyed(which.body, which.known, rows, (row) => row.key, (row) => {
    const element = make("tr");
    for (const [, className] of row.cells) element.append(foreign("td", className ?? "", ""));
    return { element };
  }, ({ element }, row) => {
    row.cells.forEach(([text, className, grade], place) => {
      const cell = element.children[place];
      put(cell, text);
      const wanted = [className, grade].filter(Boolean).join(" ");
      if (cell.className !== wanted) cell.className = wanted;
    });
  });
}

class StreamPage {
  constructor(main, id, shell) {
    this.id = id;
    this.shell = shell;
    this.feed = shell.feed;
    const { kept, end } = this.feed.watch(id);
    this.kept = kept;
    this.unwatch = end;
    this.again = new Again();
    this.people = new Map();
    this.news = 0;
    this.wanted = new Set(["words", "chat", "other"]);
    this.dirty = { picture: true, lines: true };
    this.soon = inNextFrame(() => this.draw());
    this.build(main);
    this.unsubscribe = this.feed.subscribe((kind, what) => this.hear(kind, what));
    this.ended = new AbortController();
    document.addEventListener("keydown", (event) => this.key(event), { signal: this.ended.signal });
    this.draw();
  }

  hear(kind, what) {
    if (kind === "event") {
      if (what.stream_id !== this.id) return;
      this.dirty.lines = true;
      if (what.event === "finished" || what.event === "started") this.dirty.picture = true;
      if (!this.lines.isFollowing && this.wanted.has(groupOf(what)) && what.event !== "frame") {
        this.news += 1;
      }
    } else {
      this.dirty.picture = true;
      if (kind === "hello") this.dirty.lines = true;
    }
    this.soon();
  }

  build(main) {
    this.root = make("div", "live one");
    this.root.append(this.buildHead());
    this.alarms = make("section", "card alarms");
    this.alarms.setAttribute("aria-label", "Warnings and losses");
    this.alarms.tabIndex = 0;
    this.over = make("div", "card over");
    this.over.setAttribute("role", "status");
    this.steps = make("ol", "card steps");
    this.steps.setAttribute("aria-label", "Lifecycle");
    this.steps.tabIndex = 0;
    this.alarms.hidden = this.over.hidden = this.steps.hidden = true;
    const both = make("div", "both");
    const facts = make("div", "facts");
    facts.append(this.steps, ...this.buildFacts());
    both.append(facts, this.buildSaid());
    this.root.append(this.over, this.alarms, both);
    main.replaceChildren(this.root);
    /* The newest line is in view, whatever stands above the transcript. */
    this.sizing = new ResizeObserver(() => {
      const above = both.getBoundingClientRect().top + scrollY;
      this.root.style.setProperty("--above", `${Math.round(above)}px`);
    });
    for (const one of [this.root.firstElementChild, this.over, this.alarms]) this.sizing.observe(one);
  }

  buildHead() {
    const head = make("header", "top");
    const words = make("div");
    const back = make("a", "back", "← Live");
    back.href = "/live";
    const title = make("div", "title");
    this.heading = foreign("h1", "", "Stream");
    this.heading.tabIndex = -1;
    this.badge = make("span", "badge");
    title.append(this.heading, this.badge);
    this.under = foreign("div", "under", this.id);
    words.append(back, title, this.under);
    this.tiles = make("div", "tiles");
    this.numbers = {};
    for (const [key, name] of [["time", "length"], ["people", "people"], ["rate", "messages/s"], ["size", "received"], ["reconnects", "reconnections"], ["losses", "losses"]]) {
      const tile = make("div", "tile"), number = make("b", "", "–");
      tile.append(number, make("span", "", name));
      this.tiles.append(tile);
      this.numbers[key] = { tile, number };
    }
    head.append(words, this.tiles);
    const bar = make("div", "orders");
    bar.append(this.buildListen(), this.buildMark(), this.buildStop());
    const whole = make("div");
    whole.append(head, bar);
    this.bar = bar;
    return whole;
  }

  buildListen() {
    const box = make("div", "listen");
    this.listenButton = make("button", "play", "▶ Listen in");
    this.listenButton.type = "button";
    this.listenButton.title = "Hear it with less than a second of delay (l)";
    this.listenButton.addEventListener("click", () => this.toggleListen());
    this.listenState = make("span", "small");
    this.listenState.setAttribute("role", "status");
    this.listenMeter = new Meter("Level of what you hear");
    this.volume = make("input");
    Object.assign(this.volume, { type: "range", min: "0", max: "1", step: "0.05", value: "1" });
    this.volume.setAttribute("aria-label", "Volume");
    this.volume.addEventListener("input", () => this.ear?.setVolume(Number(this.volume.value)));
    this.listenMore = make("span", "more");
    this.listenMore.hidden = true;
    this.listenMore.append(this.listenMeter.element, this.volume);
    this.listenDelay = make("span", "small");
    box.append(this.listenButton, this.listenMore, this.listenState, this.listenDelay);
    return box;
  }

  buildMark() {
    const form = make("form", "mark");
    this.markText = make("input");
    Object.assign(this.markText, { type: "text", maxLength: 1000, placeholder: "What happens now", autocomplete: "off" });
    this.markText.setAttribute("aria-label", "Text of the mark");
    this.markText.title = "Go here with m";
    const button = make("button", "", "Mark");
    button.type = "submit";
    button.title = "Mark this moment in the recording";
    this.markAnswer = make("span", "small");
    this.markAnswer.setAttribute("role", "status");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      put(this.markAnswer, "…");
      button.disabled = true;
      const text = this.markText.value.trim();
      const why = await this.feed.mark(this.id, text);
      button.disabled = false;
      put(this.markAnswer, why || `Marked at ${clock(this.feed.row(this.id)?.seconds ?? 0)}.`);
      this.markAnswer.classList.toggle("bad", Boolean(why));
      if (!why && this.markText.value.trim() === text) this.markText.value = "";
    });
    this.markText.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.markText.blur();
    });
    this.markButton = button;
    form.append(this.markText, button, this.markAnswer);
    return form;
  }

  buildStop() {
    this.stopBox = make("div", "stop");
    this.stopBox.hidden = true;
    const button = make("button", "danger", "Stop…");
    button.type = "button";
    this.stopAnswer = make("span", "small");
    this.stopAnswer.setAttribute("role", "status");
    const dialog = make("dialog", "ask");
    const form = make("form");
    form.method = "dialog";
    const question = make("h2", "", "Stop recording this stream?");
    question.id = "stop-question";
    dialog.setAttribute("aria-labelledby", question.id);
    const yes = make("button", "danger", "Stop recording"), no = make("button", "", "Keep recording");
    yes.value = "yes";
    no.value = "no";
    const buttons = make("div", "buttons");
    buttons.append(no, yes);
    form.append(question, make("p", "", "The recording is finished and kept. The meeting itself goes on."), buttons);
    dialog.append(form);
    dialog.addEventListener("close", async () => {
      if (dialog.returnValue !== "yes") return;
      dialog.returnValue = "";
      put(this.stopAnswer, "…");
      put(this.stopAnswer, (await this.feed.stop(this.id)) || "It is stopping.");
    });
    button.addEventListener("click", () => dialog.showModal());
    this.stopBox.append(button, this.stopAnswer, dialog);
    return this.stopBox;
  }

  buildFacts() {
    this.channels = table(["Socket", "State", "For#", "Keep-alive", "Slowest#", "Heard#", "Connected#"]);
    this.channels.wrap.setAttribute("aria-label", "Sockets");
    this.sockets = section("Sockets", this.channels.wrap);
    this.counts = table(["Kind", "Count#", "A second#", "Size#"]);
    this.counts.wrap.setAttribute("aria-label", "Messages");
    this.flow = make("div", "note quiet");
    this.spark = new Spark();
    const messages = section("Messages", this.counts.wrap, this.flow);
    messages.head.append(this.spark.element);
    this.peopleList = make("ul", "people");
    this.peopleList.tabIndex = 0;
    this.peopleList.setAttribute("aria-label", "People");
    this.peopleMore = make("div", "note quiet");
    this.peopleMore.hidden = true;
    this.peopleCard = section("People", this.peopleList, this.peopleMore);
    this.taps = table(["Tap", "Given#", "Dropped#", "Late#", "Opened again#"]);
    this.taps.wrap.setAttribute("aria-label", "Taps");
    this.tapsCard = section("Taps", this.taps.wrap);
    this.tracks = table(["File", "Kind", "Length#", "Packets#", "Gaps#"]);
    this.tracks.wrap.setAttribute("aria-label", "Files");
    this.folder = foreign("div", "note quiet", "");
    this.files = folded("Files", this.folder, this.tracks.wrap);
    this.frameLog = make("pre", "frames");
    this.frameLog.tabIndex = 0;
    this.frameLog.setAttribute("role", "log");
    this.frameLog.setAttribute("aria-live", "off");
    this.frameLog.setAttribute("aria-label", "Messages as they come, without media");
    this.frames = folded("Messages as they come, without media", this.frameLog);
    this.frames.element.addEventListener("toggle", () => this.drawFrames());
    this.files.element.addEventListener("toggle", () => {
      this.dirty.picture = true;
      this.soon();
    });
    return [this.peopleCard.element, this.sockets.element, messages.element, this.tapsCard.element, this.files.element, this.frames.element];
  }

  buildSaid() {
    const { element, head } = section("Transcript");
    element.classList.add("voices");
    const chips = make("div", "chips");
    for (const [key, title] of Object.entries(TITLES)) {
      const chip = make("button", "", title);
      chip.type = "button";
      chip.setAttribute("aria-pressed", "true");
      chip.addEventListener("click", () => {
        const isOn = !this.wanted.has(key);
        if (isOn) this.wanted.add(key);
        else this.wanted.delete(key);
        chip.setAttribute("aria-pressed", String(isOn));
        this.chosen = null;
        this.drawLines();
      });
      chips.append(chip);
    }
    head.append(chips);
    const scroll = make("div", "scroll");
    this.linesBox = make("div", "lines");
    this.linesBox.tabIndex = 0;
    this.linesBox.setAttribute("role", "log");
    this.linesBox.setAttribute("aria-live", "off");
    this.linesBox.setAttribute("aria-label", "Transcript, chat and events, as they come");
    this.none = make("div", "none", "Nothing has been said or written yet.");
    this.follow = make("button", "follow", "↓ Newest");
    this.follow.type = "button";
    this.follow.hidden = true;
    this.follow.addEventListener("click", () => {
      this.lines.toEnd();
      this.linesBox.focus({ preventScroll: true });
    });
    scroll.append(this.linesBox, this.none, this.follow);
    element.append(scroll);
    this.lines = new Lines(this.linesBox, (item, before) => this.line(item, before), (isFollowing) => {
      this.news = 0;
      put(this.follow, "↓ Newest");
      reveal(this.follow, !isFollowing);
    });
    return element;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest?.("input, textarea, select, dialog, [contenteditable]")) return;
    if (event.key === "m" && !this.markText.disabled) {
      event.preventDefault();
      this.markText.focus();
    } else if (event.key === "l" && !this.listenButton.disabled) {
      event.preventDefault();
      this.toggleListen();
    }
  }

  draw() {
    if (this.dirty.picture) this.drawPicture();
    if (this.dirty.lines) {
      this.drawLines();
      this.drawFrames();
    }
    this.dirty = { picture: false, lines: false };
  }

  drawPicture() {
    const { feed } = this, row = feed.row(this.id), detail = this.kept.detail;
    if (row) this.row = row;
    const shown = row ?? this.row;
    this.drawOver(row);
    if (shown) {
      const title = titleOf(shown);
      put(this.heading, title);
      if (title !== this.titled) this.shell.title((this.titled = title));
      if (row) putBadge(this.badge, ...stateOf(row.state));
      put(this.under, [this.id, shown.recording ? "" : "nothing is kept", shown.worker === null || shown.worker === undefined ? "" : `worker ${shown.worker}`].filter(Boolean).join("  ·  "));
      const rates = feed.rates(this.id), numbers = this.numbers;
      put(numbers.time.number, clock(shown.seconds));
      put(numbers.people.number, count(shown.people));
      put(numbers.rate.number, rate(rates.total));
      put(numbers.size.number, size(shown.nbytes));
      put(numbers.reconnects.number, count(shown.reconnects));
      put(numbers.losses.number, count(shown.losses));
      numbers.reconnects.tile.classList.toggle("warn", shown.reconnects > 0);
      numbers.losses.tile.classList.toggle("bad", shown.losses > 0);
      this.spark.set(rates.history);
      if (detail) this.drawDetail(shown, detail, rates);
    }
    reveal(this.tiles, Boolean(shown));
    const isHere = Boolean(row) && feed.recorder === "yes" && feed.state === "connected";
    this.markText.disabled = this.markButton.disabled = !isHere;
    this.listenButton.disabled = !isHere && !this.ear;
    reveal(this.bar, Boolean(row) || Boolean(this.ear));
    reveal(this.stopBox, Boolean(feed.hello?.control));
    this.drawAlarms(shown, detail);
  }

  /* Says where something is not as it should be: the connection, the recorder, or the stream itself. */
  drawOver(row) {
    const { feed } = this;
    const finished = feed.events.items.findLast((event) => event.event === "finished" && event.stream_id === this.id);
    let words = [], grade = "";
    if (feed.recorder === "gone") [words, grade] = [[`The recorder cannot be reached since ${timeOfDay(feed.picture.lost_at)}. This page will notice when it is back.`], "bad"];
    else if (feed.recorder === "none") words = ["No recorder runs here. This page will notice when one does."];
    else if (!row && feed.picture) {
      if (finished) {
        grade = GRADES[finished.status] ?? "";
        const losses = finished.losses ? ` ${many(finished.losses, "loss", "losses")}.` : "";
        words = [`The stream ended at ${timeOfDay(finished.at)}: ${finished.status}${finished.reason ? `, ${finished.reason}` : ""}.${losses}`];
        putBadge(this.badge, "○", finished.status, grade);
        if (!this.row) put(this.heading, titleOf({ product: finished.product || "stream", id: finished.id }));
      } else {
        words = ["This stream does not run now. If it comes back, this page will show it."];
        putBadge(this.badge, "○", "not running", "");
      }
      const name = finished?.recording ?? this.row?.recording;
      words.push(name ? ["Open its recording", recording(name)] : ["See the recordings", "/recordings"]);
    }
    const key = JSON.stringify([words, grade]);
    if (key === this.overWas) return;
    this.overWas = key;
    this.over.className = `card over ${grade}`.trim();
    this.over.replaceChildren(...words.map((one) => {
      if (typeof one === "string") return foreign("span", "", one);
      const link = make("a", "", one[0]);
      link.href = one[1];
      return link;
    }));
    reveal(this.over, words.length > 0);
  }

  drawAlarms(row, detail) {
    const alarms = [];
    if (row?.state === "lost") alarms.push(["bad", "The connection is lost; it is coming back."]);
    if (row?.losses) alarms.push(["bad", `${many(row.losses, "loss", "losses")}: something was not kept. The manifest has what and when.`]);
    for (const [kind, why] of Object.entries(detail?.refused ?? {})) alarms.push(["warn", `${kind} is not granted: ${why}`]);
    const warnings = detail?.warnings ?? [];
    for (const one of warnings.slice(-MOST_WARNINGS).reverse()) {
      alarms.push(["warn", `${one.text}${one.count > 1 ? ` (${count(one.count)} times)` : ""}`, clock(one.t)]);
    }
    const key = JSON.stringify(alarms);
    if (key === this.alarmed) return;
    this.alarmed = key;
    const list = make("ul");
    list.append(...alarms.map(([grade, text, at]) => alarm(grade, text, at)));
    this.alarms.replaceChildren(list);
    reveal(this.alarms, alarms.length > 0);
  }

  drawDetail(row, detail, rates) {
    this.drawSteps(detail.steps);
    fill(this.channels, detail.channels.map((channel) => {
      const [sign, word, grade] = PHASES[channel.phase] ?? ["◌", channel.phase, "warn"];
      const alive = channel.keep_alives, isUp = channel.phase === "up";
      const code = channel.close_code === null ? "" : `closed with ${channel.close_code}`;
      const note = channel.note.includes(code) ? channel.note : `${code} ${channel.note}`.trim();
      return { key: channel.name, cells: [
        [channel.name],
        [`${sign} ${word}${note ? `${isUp ? "; before: " : ": "}${note}` : ""}`, "long", grade],
        [spoken(channel.since_s), "number"],
        [isUp ? keepAliveWords(alive) : "", "", isUp ? keepAliveGrade(alive) : ""],
        [slowest(alive).replace("slowest ", ""), "number"],
        [channel.last_in_s === null ? "" : `${spoken(channel.last_in_s)} ago`, "number"],
        [channel.connects > 1 ? `${count(channel.connects)} times` : channel.connects ? "once" : "", "number", channel.connects > 1 ? "warn" : ""],
      ] };
    }));
    const kinds = Object.entries(detail.counts).sort((one, other) => other[1] - one[1]);
    fill(this.counts, kinds.map(([name, number]) => {
      const kind = name.startsWith("MEDIA_DATA_") ? name.slice(11).toLowerCase() : "";
      return { key: name, cells: [
        [kind || name], [count(number), "number"],
        [kind && rates.kinds[kind] ? rate(rates.kinds[kind]) : "", "number"],
        [size(detail.nbytes[name] ?? 0), "number"],
      ] };
    }));
    const behind = detail.backlog_nbytes ? `; ${size(detail.backlog_nbytes)} wait for the disk` : "";
    put(this.flow, `${size(Math.round(rates.nbytes))}/s in; ${size(detail.written_nbytes)} written${behind}`);
    this.drawPeople(detail.people);
    fill(this.taps, detail.taps.map((tap, place) => ({ key: place, cells: [
      [`${tap.what}${tap.user_name ? ` of ${tap.user_name}` : ""} → ${tap.target}`, "long"], [size(tap.nbytes), "number"],
      [tap.drops ? count(tap.drops) : "", "number", tap.drops ? "bad" : ""],
      [tap.late_seconds ? spoken(tap.late_seconds) : "", "number"], [tap.restarts ? many(tap.restarts, "time") : "", "number"],
    ] })));
    reveal(this.tapsCard.element, detail.taps.length > 0);
    put(this.files.number, count(detail.tracks.length));
    if (this.files.element.open) {
      put(this.folder, detail.folder ?? "Nothing is kept.");
      fill(this.tracks, detail.tracks.slice(0, MOST_TRACKS).map((track) => ({ key: track.path, cells: [
        [track.path, "long"], [track.kind], [clock(track.seconds), "number"], [count(track.packets), "number"],
        [track.gaps ? `${count(track.gaps)}, ${spoken(track.gap_seconds)}` : "", "number"],
      ] })));
    }
  }

  drawSteps(steps) {
    const key = `${steps.length} ${steps.at(-1)?.[0]}`;
    if (key === this.stepped) return;
    this.stepped = key;
    const shown = steps.slice(-14);
    this.steps.replaceChildren(...shown.map(([name, at], place) => {
      const isBad = name.endsWith("lost") || name === "failover";
      const item = make("li", isBad ? "bad" : name === "stopped" ? "stop" : "");
      const before = place ? shown[place - 1][1] : null;
      const passed = before === null ? "" : `+${spoken(at - before)}`;
      item.append(make("b", "", `${isBad ? "✗ " : ""}${name.replaceAll("_", " ")}`), make("span", "", clock(at)), make("span", "", passed));
      return item;
    }));
    reveal(this.steps, steps.length > 0);
    this.steps.scrollLeft = this.steps.scrollWidth;
  }

  drawPeople(people) {
    const shown = people.length <= MOST_PEOPLE ? people
      : [...people].sort((one, other) => other.is_speaking - one.is_speaking || (other.level ?? 0) - (one.level ?? 0)).slice(0, MOST_PEOPLE);
    keyed(this.peopleList, this.people, shown, (one) => String(one.user_id), (one) => {
      const element = make("li"), name = foreign("span", "name", ""), meter = new Meter("Level"), note = make("span", "small");
      element.append(name, meter.element, note);
      return { element, name, meter, note };
    }, (one, person) => {
      put(one.name, person.name);
      one.element.classList.toggle("speaking", person.is_speaking);
      one.meter.element.hidden = person.level === null;
      one.meter.set(person.level ?? 0);
      put(one.note, [person.is_speaking ? "speaking" : "", person.gaps ? `${many(person.gaps, "gap")}, ${spoken(person.gap_seconds)}` : ""].filter(Boolean).join(" · "));
    });
    put(this.peopleMore, people.length > shown.length ? `and ${count(people.length - shown.length)} more` : "");
    reveal(this.peopleMore, people.length > shown.length);
    reveal(this.peopleCard.element, people.length > 0);
    put(this.peopleCard.heading, `People ${count(people.filter((one) => one.user_id !== null).length)}`);
  }

  drawLines() {
    const { items, revision } = this.kept.lines;
    if (revision !== this.linesWere) {
      this.linesWere = revision;
      this.again = new Again();
      this.chosen = null;
    }
    if (this.chosen === null) {
      this.chosen = [];
      this.seen = 0;
      this.chosenRevision = (this.chosenRevision ?? 0) + 1;
      this.again = new Again();
    }
    for (; this.seen < items.length; this.seen++) {
      const item = items[this.seen];
      item.again = this.again.see(item);
      if (this.wanted.has(groupOf(item))) this.chosen.push(item);
    }
    this.lines.update(this.chosen, this.chosenRevision);
    reveal(this.none, !this.chosen.length);
    if (!this.lines.isFollowing && this.news) put(this.follow, `↓ ${many(this.news, "new line")}`);
  }

  line(item, before) {
    const group = groupOf(item);
    if (group === "other") {
      const element = make("div", `line event${item.is_warning ? " warn" : ""}`);
      element.append(make("time", "", clock(item.t ?? 0)), foreign("p", "", `${item.is_warning ? "! " : ""}${told(item, item.again)}`));
      if (item.t === undefined) put(element.firstChild, timeOfDay(item.at));
      return element;
    }
    const element = make("div", `line ${group}`);
    const name = item.user_name || (item.user_id === undefined || item.user_id === null ? "unknown" : String(item.user_id));
    const words = make("div");
    const isSame = before && groupOf(before) === group && before.user_id === item.user_id && before.user_name === item.user_name && !item.to;
    if (!isSame) words.append(foreign("b", "", `${name}${group === "chat" ? ` ✉${item.to ? ` to ${item.to}` : ""}` : ""}`));
    words.append(foreign("p", "", item.text ?? ""));
    const time = make("time", "", clock(item.t ?? 0));
    time.title = timeOfDay(item.at);
    element.append(time, words);
    return element;
  }

  drawFrames() {
    if (!this.frames.element.open) return;
    const { items, revision } = this.kept.frames, last = items.at(-1)?.seq ?? 0;
    if (last === this.framed && revision === this.framedRevision) return;
    this.framed = last;
    this.framedRevision = revision;
    const box = this.frameLog, isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    const arrows = { in: "←", out: "→", state: "·" };
    box.textContent = items.slice(-300).map((one) =>
      `${(one.t ?? 0).toFixed(3).padStart(9)}  ${one.channel ?? ""} ${arrows[one.direction] ?? "·"} ${one.text ?? ""}`).join("\n");
    if (isAtEnd) box.scrollTop = box.scrollHeight;
  }

  async toggleListen() {
    if (this.ear) {
      this.endListen();
      return;
    }
    put(this.listenState, "connecting…");
    this.listenButton.disabled = true;
    const id = (this.earNumber = (this.earNumber ?? 0) + 1);
    try {
      const { listenIn } = await import("/static/sound.js");
      if (this.isOver || id !== this.earNumber) return;
      this.ear = await listenIn(this.id, {
        onState: (state, more) => {
          if (id === this.earNumber) this.heardState(state, more);
        },
        onLevel: (level) => this.listenMeter.set(level),
      });
      if (this.isOver || id !== this.earNumber) {
        this.ear?.stop();
        return;
      }
      this.ear.setVolume(Number(this.volume.value));
      put(this.listenButton, "■ Stop listening");
      reveal(this.listenMore, true);
    } catch (error) {
      put(this.listenState, `It cannot be heard: ${error.message}`);
    } finally {
      this.listenButton.disabled = false;
    }
  }

  heardState(state, more = {}) {
    const words = {
      connecting: "connecting…", playing: "playing", waiting: "waiting for sound", lost: "lost, tries again", ended: "ended",
      refused: "It cannot be heard",
    };
    const shown = words[state] ?? state;
    put(this.listenState, more.why ? `${shown}: ${more.why}` : shown);
    put(this.listenDelay, state === "playing" && more.delay !== undefined ? `${more.delay.toFixed(2)} s buffered` : "");
    if (state === "ended" || state === "refused") this.endListen(true);
  }

  endListen(keepsWords = false) {
    this.earNumber = (this.earNumber ?? 0) + 1;
    this.ear?.stop();
    this.ear = null;
    put(this.listenButton, "▶ Listen in");
    reveal(this.listenMore, false);
    this.listenMeter.set(0);
    put(this.listenDelay, "");
    if (!keepsWords) put(this.listenState, "");
  }

  end() {
    this.isOver = true;
    this.endListen();
    this.ended.abort();
    this.unsubscribe();
    this.unwatch();
    this.lines.end();
    this.sizing.disconnect();
    this.soon.end();
  }
}

/* By which the lines are filtered. */
function groupOf(event) {
  return event.event === "transcript" ? "words" : event.event === "chat" ? "chat" : "other";
}

export function show(main, params, shell) {
  const page = new StreamPage(main, params.id ?? params.stream_id ?? params.streamId, shell);
  return () => page.end();
}
