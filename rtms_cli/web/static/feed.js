/* The feed of a recorder (docs/feed.md) over one WebSocket, which comes back by itself and goes on where it was.

   Memory is bounded: of events and lines the newest are kept. Nothing here touches the page, except that a hidden one
   asks for less: it watches no stream, and after a while it leaves. */

const FIRST_MS = 250, LONGEST_MS = 8_000; // between two attempts to come back
const SILENT_MS = 12_000; // a picture comes every second: after this long nobody is there
const HIDDEN_MS = 60_000; // after which a hidden page leaves
const ANSWER_MS = 10_000;
const SAMPLE_MS = 800;
const MOST_SAMPLES = 31;
export const MOST_EVENTS = 1_000, MOST_LINES = 10_000, MOST_FRAMES = 500, MOST_CHARS = 4_000_000;

/* The newest events, in the order of their numbers. */
export class Kept {
  #most;
  #mostChars;
  #chars = 0;
  items = [];
  /* Grows when anything but the end has changed. */
  revision = 0;

  constructor(most, mostChars = MOST_CHARS) {
    this.#most = most;
    this.#mostChars = mostChars;
  }

  /* Add an event; false if it is there already, or older than all that is kept where there is no room for more. */
  add(event) {
    const items = this.items;
    let place = items.length;
    while (place > 0 && items[place - 1].seq >= event.seq) {
      if (place > 32) {
        place = this.#find(event.seq);
        break;
      }
      place -= 1;
    }
    if (items[place]?.seq === event.seq || (place === 0 && items.length >= this.#most)) return false;
    if (place === items.length) items.push(event);
    else {
      items.splice(place, 0, event);
      this.revision += 1;
    }
    this.#chars += event.text?.length ?? 0;
    if (items.length > this.#most * 1.1 || this.#chars > this.#mostChars * 1.1) this.#trim();
    return true;
  }

  clear() {
    this.items = [];
    this.#chars = 0;
    this.revision += 1;
  }

  #find(seq) {
    let low = 0, high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.items[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #trim() {
    let count = Math.max(0, this.items.length - this.#most), freed = 0;
    for (let i = 0; i < count; i++) freed += this.items[i].text?.length ?? 0;
    while (this.#chars - freed > this.#mostChars && count < this.items.length - 1) {
      freed += this.items[count].text?.length ?? 0;
      count += 1;
    }
    this.items.splice(0, count);
    this.#chars -= freed;
    this.revision += 1;
  }
}

/* What is kept of a stream that somebody looks at. */
class Watched {
  count = 0; // of those who look
  last = 0; // the number of its last event
  detail = null;
  lines = new Kept(MOST_LINES);
  frames = new Kept(MOST_FRAMES);

  clear() {
    this.last = 0;
    this.lines.clear();
    this.frames.clear();
  }
}

export class Feed {
  #path;
  #socket = null;
  #retry = 0;
  #delay = FIRST_MS;
  #heard = 0;
  #leave = 0;
  #checking;
  #last = 0;
  #watched = new Map();
  #samples = new Map();
  #subscribers = new Set();
  #answers = new Map();
  #number = 0;
  #offsets = [];
  #ended = new AbortController();

  /* `connecting` at first, then `connected` or `lost`; `paused` while the page is hidden for long. */
  state = "connecting";
  /* Since when, in ms of this browser's clock. */
  since = Date.now();
  hello = null;
  picture = null;
  /* What happened, of all streams: everything but transcript, chat and frames. */
  events = new Kept(MOST_EVENTS);

  constructor(path = "/feed") {
    this.#path = path;
    const signal = this.#ended.signal;
    document.addEventListener("visibilitychange", () => this.#look(), { signal });
    addEventListener("online", () => this.#hurry(), { signal });
    this.#checking = setInterval(() => this.#check(), 4_000);
    this.#connect();
  }

  /* Call on("state" | "hello" | "picture" | "event", what); returns what ends that. It should only remember: a page
     is drawn in the next frame. */
  subscribe(on) {
    this.#subscribers.add(on);
    return () => this.#subscribers.delete(on);
  }

  /* Whether a recorder can be seen: `yes`, `gone` if there was one, `none` if there never was, `unknown` so far. */
  get recorder() {
    const picture = this.picture;
    if (!picture) return "unknown";
    if (picture.is_connected !== false) return "yes";
    return picture.lost_at ? "gone" : "none";
  }

  /* The recorder's time of day, in ms. */
  now() {
    return Date.now() - (this.#offsets.length ? Math.min(...this.#offsets) : 0);
  }

  /* Look at a stream: returns what is kept of it, and `end()`. */
  watch(id) {
    let kept = this.#watched.get(id);
    if (!kept) {
      kept = new Watched();
      this.#watched.set(id, kept);
      for (const event of this.events.items) if (event.stream_id === id) kept.lines.add(event);
      kept.detail = this.picture?.watched?.find((one) => one.stream_id === id) ?? null;
      this.#sendWatch();
    }
    kept.count += 1;
    let isOver = false;
    const end = () => {
      if (isOver) return;
      isOver = true;
      kept.count -= 1;
      if (!kept.count && this.#watched.get(id) === kept) {
        this.#watched.delete(id);
        this.#sendWatch();
      }
    };
    return { kept, end };
  }

  row(id) {
    return this.picture?.streams.find((row) => row.stream_id === id) ?? null;
  }

  /* Messages a second of a stream over the last seconds, by kind and in all, bytes a second, and all of the last half
     minute, oldest first. */
  rates(id) {
    const samples = this.#samples.get(id) ?? [];
    const kinds = {}, history = [];
    let nbytes = 0, total = 0;
    if (samples.length > 1) {
      const now = samples.at(-1), before = samples[Math.max(0, samples.length - 5)];
      const seconds = (now.ms - before.ms) / 1000;
      for (const [kind, count] of Object.entries(now.messages)) {
        const rate = (count - (before.messages[kind] ?? 0)) / seconds;
        if (rate > 0) kinds[kind] = rate;
        total += rate;
      }
      nbytes = (now.nbytes - before.nbytes) / seconds;
      for (let i = 1; i < samples.length; i++) {
        history.push(((samples[i].total - samples[i - 1].total) * 1000) / (samples[i].ms - samples[i - 1].ms));
      }
    }
    return { kinds, total, nbytes, history };
  }

  /* Mark this moment in a stream; resolves to an empty text, or to why not. */
  mark(id, text) {
    return this.#order({ type: "mark", stream_id: id, text });
  }

  /* Stop a stream; see `mark`. */
  stop(id) {
    return this.#order({ type: "stop", stream_id: id });
  }

  close() {
    this.#ended.abort();
    clearInterval(this.#checking);
    clearTimeout(this.#leave);
    this.#drop();
    this.#subscribers.clear();
  }

  #tell(kind, what) {
    for (const on of [...this.#subscribers]) on(kind, what);
  }

  #set(state) {
    if (state === this.state) return;
    this.state = state;
    this.since = Date.now();
    this.#tell("state", state);
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    const url = new URL(this.#path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    if (this.hello) {
      url.searchParams.set("run", this.hello.run);
      url.searchParams.set("after", this.#last);
    }
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#heard = Date.now();
    socket.onmessage = (message) => {
      if (socket === this.#socket) this.#take(message.data);
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (event.code === 1012) this.#delay = FIRST_MS; // another recorder
      this.#again();
    };
  }

  /* Let go of the socket, without waiting for its end. */
  #drop() {
    clearTimeout(this.#retry);
    this.#retry = 0;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const answer of this.#answers.values()) answer("The connection to the recorder was lost. Try again.");
    this.#answers.clear();
  }

  #again() {
    this.#drop();
    if (this.#ended.signal.aborted) return;
    this.#set("lost");
    this.#retry = setTimeout(() => this.#connect(), this.#delay * (0.75 + Math.random() / 2));
    this.#delay = Math.min(this.#delay * 2, LONGEST_MS);
  }

  #hurry() {
    this.#delay = FIRST_MS;
    if (this.#retry || this.state === "paused") this.#connect();
  }

  #check() {
    if (this.#socket && Date.now() - this.#heard > SILENT_MS) this.#again();
  }

  #look() {
    clearTimeout(this.#leave);
    if (document.hidden) {
      this.#leave = setTimeout(() => {
        this.#drop();
        this.#set("paused");
      }, HIDDEN_MS);
    } else this.#hurry();
    this.#sendWatch();
  }

  #send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.state !== "connected") return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #sendWatch() {
    const kept = document.hidden ? [] : [...this.#watched.values()];
    const after = kept.length ? Math.min(...kept.map((one) => one.last)) : 0;
    this.#send({ type: "watch", streams: kept.length ? [...this.#watched.keys()] : [], after });
  }

  #order(order) {
    const id = (this.#number += 1);
    return new Promise((resolve) => {
      const end = (why) => {
        clearTimeout(timer);
        this.#answers.delete(id);
        resolve(why);
      };
      const timer = setTimeout(() => end("The recorder did not answer."), ANSWER_MS);
      this.#answers.set(id, end);
      if (!this.#send({ id, ...order })) end("There is no connection to the recorder.");
    });
  }

  #take(text) {
    this.#heard = Date.now();
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    switch (message?.type) {
      case "hello": return this.#takeHello(message);
      case "event": return this.#takeEvent(message);
      case "picture": return this.#takePicture(message);
      case "answer": return this.#answers.get(message.id)?.(message.ok ? "" : message.why || "It was refused.");
    }
  }

  #takeHello(hello) {
    if (!hello.resumed) {
      this.#last = 0;
      this.events.clear();
      this.#samples.clear();
      this.#offsets = [];
      this.picture = null;
      for (const kept of this.#watched.values()) kept.clear();
    }
    this.hello = hello;
    this.#delay = FIRST_MS;
    this.#set("connected");
    this.#sendWatch();
    this.#tell("hello", hello);
  }

  #takeEvent(event) {
    const kept = this.#watched.get(event.stream_id);
    if (event.event === "transcript" || event.event === "chat" || event.event === "frame") {
      if (!kept || !(event.event === "frame" ? kept.frames : kept.lines).add(event)) return;
      kept.last = Math.max(kept.last, event.seq);
    } else {
      if (!this.events.add(event)) return;
      this.#last = Math.max(this.#last, event.seq);
      kept?.lines.add(event);
    }
    this.#tell("event", event);
  }

  #takePicture(picture) {
    this.picture = picture;
    this.#last = Math.max(this.#last, picture.seq); // events up to this number came before it
    for (const detail of picture.watched ?? []) {
      const kept = this.#watched.get(detail.stream_id);
      if (kept) kept.detail = detail;
    }
    const ms = Date.parse(picture.at);
    if (picture.is_connected !== false && !Number.isNaN(ms)) {
      this.#offsets = [...this.#offsets.slice(-9), Date.now() - ms];
      this.#sample(picture, ms);
    }
    this.#tell("picture", picture);
    /* There was no recorder to say hello for, and now there is one. */
    if (picture.is_connected !== false && this.hello && !this.hello.run) {
      this.#drop();
      this.#connect();
    }
  }

  #sample(picture, ms) {
    const known = new Map();
    for (const row of picture.streams) {
      let samples = this.#samples.get(row.stream_id) ?? [];
      const last = samples.at(-1);
      const total = Object.values(row.messages).reduce((sum, count) => sum + count, 0);
      if (last && total < last.total) samples = [];
      if (!last || ms - last.ms >= SAMPLE_MS || !samples.length) {
        samples.push({ ms, total, messages: row.messages, nbytes: row.nbytes });
        if (samples.length > MOST_SAMPLES) samples.shift();
      }
      known.set(row.stream_id, samples);
    }
    this.#samples = known;
  }
}
