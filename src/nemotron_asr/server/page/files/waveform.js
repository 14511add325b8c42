// A recording as a picture: how loud it is, how far it is transcribed, where it is played, and which word that is.

const MOST_BYTES = 300e6; // beyond this a browser would run out of memory over the samples
const LONGEST = 45 * 60; // seconds, likewise: silence is small until it is decoded
const LABEL = 20; // pixels above the bars, for the word that is played

/** Seconds of the recording that an element plays; where the browser does not know them, what 32 kbit/s would make. */
async function seconds(audio, file) {
  await new Promise((resolve) => (audio.onloadedmetadata = audio.onerror = resolve));
  return Number.isFinite(audio.duration) ? audio.duration : file.size / 4000;
}

/** Loudness of a recording in so many parts, between 0 and 1; null when the browser cannot decode it. */
async function loudness(file, parts) {
  if (file.size > MOST_BYTES) return null;
  const context = new OfflineAudioContext(1, 1, 16000);
  const audio = await file.arrayBuffer().then((data) => context.decodeAudioData(data)).catch(() => null);
  if (!audio) return null;
  const samples = audio.getChannelData(0);
  const size = samples.length / parts;
  const peaks = Array.from({ length: parts }, (_, i) => peak(samples, Math.floor(i * size), Math.floor((i + 1) * size)));
  const most = Math.max(...peaks, 0.01);
  return peaks.map((value) => value / most);
}

function peak(samples, start, end) {
  let most = 0;
  const step = Math.max(1, Math.floor((end - start) / 200));
  for (let i = start; i < end; i += step) most = Math.max(most, Math.abs(samples[i]));
  return most;
}

export class Waveform {
  constructor(canvas, onSeek) {
    this.canvas = canvas;
    this.peaks = null;
    this.heard = this.played = 0; // shares
    this.word = null; // that is played, in a recording of `duration` seconds
    this.duration = 1;
    canvas.addEventListener("click", ({ offsetX }) => onSeek(offsetX / canvas.clientWidth));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Draw a file, which an element begins to play; not one in whose place another has come. */
  async load(file, audio) {
    this.file = file;
    this.heard = this.played = 0;
    this.peaks = this.word = null;
    this.draw();
    if ((await seconds(audio, file)) > LONGEST || this.file !== file) return;
    const peaks = await loudness(file, 400);
    if (this.file === file) this.show({ peaks });
  }

  show(changes) {
    Object.assign(this, changes);
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = devicePixelRatio;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name);
    const step = width / (this.peaks?.length ?? 1);
    this.light(pen, width, height, colour);
    this.peaks?.forEach((value, i) => {
      const share = i / this.peaks.length;
      pen.fillStyle = share < this.played ? colour("--accent") : share < this.heard ? colour("--quiet") : colour("--line");
      const tall = Math.max(1, value * (height - LABEL));
      pen.fillRect(i * step, LABEL + (height - LABEL - tall) / 2, Math.max(1, step - 1), tall);
    });
  }

  /** The word that is played: its stretch of the recording, and what it says above it. */
  light(pen, width, height, colour) {
    if (!this.word) return;
    const { text, start, end } = this.word;
    const scale = width / this.duration;
    pen.fillStyle = colour("--glow");
    pen.fillRect(start * scale, 0, Math.max(2, (end - start) * scale), height);
    pen.fillStyle = colour("--ink");
    pen.font = "600 14px system-ui, sans-serif";
    pen.textAlign = "center";
    const half = pen.measureText(text).width / 2;
    const middle = ((start + end) / 2) * scale;
    pen.fillText(text, Math.min(Math.max(middle, half), width - half), LABEL - 5);
  }
}
