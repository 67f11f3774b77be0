// Plays samples as they come, on the audio thread: a small buffer evens out the network, and never grows old.

const START_S = 0.15; // what waits before it plays
const MOST_S = 0.45; // more than this is behind the times: what is oldest is left out
const REPORT_S = 0.1;

class Player extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.from = options.processorOptions.rate; // of what comes; what is played has `sampleRate`
    this.chunks = [];
    this.samples = 0; // that wait
    this.place = 0; // within the first chunk, with a fraction
    this.isPlaying = false;
    this.level = 0;
    this.untold = 0;
    this.skipped = 0;
    this.port.onmessage = ({ data }) => {
      if (data === "stop") {
        this.isOver = true;
        return;
      }
      this.chunks.push(data);
      this.samples += data.samples.length;
      if (this.waiting > MOST_S) this.advance(Math.floor((this.waiting - START_S) * this.from), true);
    };
  }

  get waiting() { // in seconds
    return Math.max(0, this.samples - this.place) / this.from;
  }

  advance(count, isSkipped = false) {
    this.place += count;
    if (isSkipped) this.skipped += count;
    while (this.chunks.length && this.place >= this.chunks[0].samples.length) {
      const gone = this.chunks.shift();
      this.place -= gone.samples.length;
      this.samples -= gone.samples.length;
    }
    if (!this.chunks.length) this.place = 0;
  }

  process(inputs, [output]) {
    const out = output[0], step = this.from / sampleRate;
    if (!this.isPlaying && this.waiting >= START_S) this.isPlaying = true;
    for (let i = 0; i < out.length; i++) {
      let value = 0;
      if (this.isPlaying) {
        const chunk = this.chunks[0]?.samples;
        if (!chunk) this.isPlaying = false;
        else {
          const at = Math.floor(this.place), share = this.place - at;
          const next = at + 1 < chunk.length ? chunk[at + 1] : this.chunks[1] ? this.chunks[1].samples[0] : chunk[at];
          value = (chunk[at] * (1 - share) + next * share) / 32768;
          this.advance(step);
        }
      }
      out[i] = value;
      this.level = Math.max(this.level, Math.abs(value));
    }
    for (let channel = 1; channel < output.length; channel++) output[channel].set(out);
    this.untold += out.length;
    if (this.untold >= REPORT_S * sampleRate) {
      const now = this.chunks[0];
      const at = now && now.at + 1000 * this.place / this.from;
      this.port.postMessage({ at, level: this.level, waiting: this.waiting, isPlaying: this.isPlaying, skipped: this.skipped / this.from });
      this.untold = this.level = 0;
    }
    return !this.isOver;
  }
}

registerProcessor("player", Player);
