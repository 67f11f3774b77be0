// Listening in: the sound of a running stream, everyone mixed, with less than a second of delay.

const KIND_AUDIO = 1;
const TELL_MS = 1000;
const AGAIN_MS = 1000, MOST_AGAIN_MS = 8000;

/**
 * Play a stream. Call it from a click or a key, so that the browser allows sound.
 *
 * @param {string} streamId
 * @param {(state: string, more: {why?: string, delay?: number, at?: number}) => void} onState `connecting`, `playing`, `waiting` for
 *   sound, `lost`, `ended` or `refused`; `delay` is what waits here to be played, in seconds,
 *   and `at` is when what plays now was said, on Zoom's clock, in milliseconds
 * @param {(level: number) => void} onLevel the peak of the last 100 ms, 0 to 1
 * @returns {{stop(): void, setVolume(volume: number): void}} the volume goes from 0 to 1
 */
export function listenIn(streamId, { onState = () => {}, onLevel = () => {} } = {}) {
  const context = new AudioContext({ latencyHint: "interactive" });
  const gain = context.createGain();
  gain.connect(context.destination);
  let socket = null, player = null, isOver = false, state = "", again = AGAIN_MS, timer = 0, told = 0;

  function tell(next, more = {}) {
    const now = performance.now();
    if (state === next && now - told < TELL_MS) return;
    state = next;
    told = now;
    onState(next, more);
  }

  async function begin() {
    tell("connecting");
    try {
      await context.audioWorklet.addModule("/static/worklet.js");
      await context.resume();
    } catch (error) {
      tell("refused", { why: `this browser cannot play it (${error.message})` });
      return;
    }
    if (!isOver) connect();
  }

  function connect() {
    clearTimeout(timer);
    const url = new URL(`/streams/${encodeURIComponent(streamId)}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const mine = (socket = new WebSocket(url));
    let hasEnded = false;
    mine.binaryType = "arraybuffer";
    mine.onopen = () => {
      if (mine === socket && !isOver) tell("waiting");
    };
    mine.onmessage = ({ data }) => {
      if (mine !== socket || isOver) return;
      if (typeof data === "string") {
        let news;
        try {
          news = JSON.parse(data);
        } catch {
          return;
        }
        if (news.type === "start") {
          again = AGAIN_MS;
          make(news.format?.rate ?? 24000);
          tell("waiting");
        } else if (news.type === "stop") hasEnded = true;
        return;
      }
      const view = new DataView(data);
      if (data.byteLength < 16 || view.getUint8(0) !== KIND_AUDIO || !player) return;
      const header = view.getUint16(2), count = Math.floor((data.byteLength - header) / 2);
      if (count <= 0) return;
      const samples = new Int16Array(count);
      for (let i = 0; i < count; i++) samples[i] = view.getInt16(header + 2 * i, true);
      player.port.postMessage({ samples, at: Number(view.getBigUint64(8)) }, [samples.buffer]);
    };
    mine.onclose = ({ code, reason }) => {
      if (mine !== socket || isOver) return;
      if (hasEnded || code === 1000) {
        tell("ended");
        stop();
        return;
      }
      tell("lost", { why: code === 1013 ? reason : "" });
      timer = setTimeout(connect, again);
      again = Math.min(2 * again, MOST_AGAIN_MS);
    };
  }

  function make(rate) {
    if (player) {
      player.port.postMessage("stop");
      player.disconnect();
    }
    player = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [2], processorOptions: { rate } });
    player.port.onmessage = ({ data }) => {
      if (isOver) return;
      onLevel(data.level);
      if (socket.readyState !== WebSocket.OPEN) return;
      tell(data.isPlaying ? "playing" : "waiting", { delay: data.waiting + (context.outputLatency || context.baseLatency || 0), at: data.at });
    };
    player.connect(gain);
  }

  function stop() {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    socket?.close();
    player?.port.postMessage("stop");
    context.close().catch(() => {}); // it is closed already
  }

  begin();
  return {
    stop,
    setVolume(volume) {
      gain.gain.setTargetAtTime(Math.max(0, Math.min(1, volume)), context.currentTime, 0.02);
    },
  };
}
