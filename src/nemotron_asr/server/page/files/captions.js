// Segments on the screen: the words of a partial are grey, and settle when their segment is final.

const UNSURE = 0.4;
const UNSPACED = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u; // written without spaces

/** The transcript and the element that shows it. */
export class Captions {
  constructor(element, onWord) {
    this.element = element;
    this.segments = []; // finals
    this.paragraph = null; // of the segment that still grows
    this.onWord = onWord;
    element.addEventListener("click", ({ target }) => this.choose(target));
    element.addEventListener("keydown", (event) => this.press(event));
    element.addEventListener("focusin", ({ target }) => {
      if (target.dataset.start) target.ariaLabel = `${target.textContent}, at ${Number(target.dataset.start).toFixed(1)} seconds`;
    });
  }

  get empty() {
    return !this.element.firstChild;
  }

  get text() {
    return this.segments.map((segment) => segment.text).join("\n");
  }

  choose(word) {
    if (word.classList.contains("said")) this.onWord(Number(word.dataset.start));
  }

  /** Tab reaches one word; arrows go from it to the others, and Enter plays it. */
  press(event) {
    const words = [...this.element.querySelectorAll(".said")];
    const place = words.indexOf(event.target);
    if (place < 0) return;
    const right = getComputedStyle(event.target).direction === "rtl" ? -1 : 1;
    const next = words[{ ArrowLeft: place - right, ArrowRight: place + right, Home: 0, End: words.length - 1 }[event.key]];
    if (event.key === "Enter" || event.key === " ") this.choose(event.target);
    else if (next) this.reach(event.target, next);
    else return;
    event.preventDefault();
  }

  reach(before, word) {
    before.tabIndex = -1;
    word.tabIndex = 0;
    word.focus();
  }

  /** Show an event of the stream, whose times count from `offset`. */
  show(event, offset = 0) {
    if (event.type !== "partial" && event.type !== "final") return;
    const words = event.words.map((word) => ({ ...word, start: word.start + offset, end: word.end + offset }));
    const segment = { ...event, start: event.start + offset, end: event.end + offset, words };
    const following = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < 80;
    this.write(segment);
    if (event.type === "final") this.settle(segment);
    if (following) this.element.scrollTop = this.element.scrollHeight;
  }

  write(segment) {
    this.paragraph ??= this.element.appendChild(document.createElement("p"));
    this.paragraph.className = "partial";
    this.paragraph.dir = "auto";
    this.paragraph.ariaBusy = "true"; // a screen reader reads it when it has settled, not word by word
    if (segment.language) this.paragraph.lang = segment.language;
    const old = [...this.paragraph.querySelectorAll(".word")];
    segment.words.forEach((word, i) => this.word(word, i, old[i], segment));
  }

  /** Words never go away: those that are there are kept, and only what is new in them is written. */
  word(word, index, element, segment) {
    if (!element) {
      if (index && spaced(segment, index)) this.paragraph.append(" ");
      element = this.paragraph.appendChild(document.createElement("span"));
      element.className = "word";
    }
    if (element.textContent !== word.word) element.textContent = word.word;
    element.dataset.start = word.start;
    element.dataset.end = word.end;
    element.classList.toggle("unsure", word.confidence < UNSURE);
    element.title = `${word.start.toFixed(2)} s, ${Math.round(100 * word.confidence)} % sure`;
  }

  settle(segment) {
    const { start, end, text, language, confidence, words } = segment;
    this.segments.push({ start, end, text, language, confidence, words });
    this.paragraph.className = "final";
    this.paragraph.ariaBusy = "false";
    for (const word of this.paragraph.querySelectorAll(".word")) {
      word.tabIndex = this.element.querySelector(".said") ? -1 : 0;
      word.role = "button";
      word.classList.add("said");
    }
    if (language) {
      const mark = this.paragraph.appendChild(document.createElement("span"));
      mark.className = "language";
      mark.textContent = language;
    }
    this.paragraph = null;
  }

  /** Mark the word that is said at a time of the recording; the word with its times, or null between two. */
  play(seconds) {
    let said = null;
    for (const word of this.element.querySelectorAll(".said")) {
      const { start, end } = word.dataset;
      const playing = start <= seconds && seconds < end;
      if (word.classList.toggle("playing", playing) && playing) word.scrollIntoView({ block: "nearest" });
      if (playing) said = { text: word.textContent, start: Number(start), end: Number(end) };
    }
    return said;
  }

  /** The transcript in the shape of `nemotron-asr transcribe --format json`. */
  transcript(file, duration) {
    const counts = new Map();
    for (const { language, words } of this.segments) {
      if (language) counts.set(language, (counts.get(language) ?? 0) + words.length);
    }
    const [language] = [...counts].sort((a, b) => b[1] - a[1])[0] ?? [null];
    const text = this.segments.map((segment) => (UNSPACED.test(segment.text) ? "" : " ") + segment.text).join("").trim();
    return { file, duration, language, text, segments: this.segments };
  }

  clear() {
    this.segments = [];
    this.paragraph = null;
    this.element.replaceChildren();
  }
}

/** Whether the segment's text has a space before a word; some scripts have none. */
function spaced(segment, index) {
  let place = 0;
  segment.words.slice(0, index).forEach(({ word }) => (place = segment.text.indexOf(word, place) + word.length));
  return segment.text[place] === " ";
}
