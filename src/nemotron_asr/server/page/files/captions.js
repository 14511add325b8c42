// Segments on the screen: the words of a partial are grey, and settle when their segment is final.

const UNSURE = 0.4;
const UNSPACED = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u; // written without spaces

/** The transcript and the element that shows it. */
export class Captions {
  constructor(element, onWord) {
    this.element = element;
    this.segments = []; // finals
    this.growing = null; // the segment that is no final yet
    this.paragraph = null; // in which it grows
    this.cleared = 0; // words that it had when all was cleared
    this.said = []; // words of the finals: { text, start, end, element }
    this.playing = null; // the one of them that is heard
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
    const segment = moved(rest(event, this.cleared), offset);
    const following = this.element.scrollHeight - this.element.scrollTop - this.element.clientHeight < 80;
    if (segment.words.length) this.write(segment);
    if (event.type === "final") this.settle();
    if (following) this.element.scrollTop = this.element.scrollHeight;
  }

  write(segment) {
    this.growing = segment;
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

  /** The segment will not grow any more: it is final, or its stream has ended, and then this is all there is of it. */
  settle() {
    this.cleared = 0;
    if (!this.growing) return;
    const { start, end, text, language, confidence, words } = this.growing;
    this.segments.push({ start, end, text, language, confidence, words });
    this.paragraph.className = "final";
    this.paragraph.ariaBusy = "false";
    for (const word of this.paragraph.querySelectorAll(".word")) this.touchable(word);
    if (language) {
      const mark = this.paragraph.appendChild(document.createElement("span"));
      mark.className = "language";
      mark.textContent = language;
    }
    this.growing = this.paragraph = null;
  }

  touchable(element) {
    element.tabIndex = this.said.length ? -1 : 0;
    element.role = "button";
    element.classList.add("said");
    const { start, end } = element.dataset;
    this.said.push({ text: element.textContent, start: Number(start), end: Number(end), element });
  }

  /** Mark the word that is said at a time of the recording; the word with its times, or null between two. */
  play(seconds) {
    const word = this.at(seconds);
    if (word === this.playing) return word;
    this.playing?.element.classList.remove("playing");
    word?.element.classList.add("playing");
    this.playing = word;
    if (word) this.reveal(word.element);
    return word;
  }

  /** The word that is said at a time: the last that has begun, unless it has ended. */
  at(seconds) {
    let [low, high] = [0, this.said.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.said[middle].start <= seconds) low = middle + 1;
      else high = middle;
    }
    const word = this.said[low - 1];
    return word && seconds < word.end ? word : null;
  }

  /** Scroll the captions to a word; not the window, which is the reader's. */
  reveal(element) {
    const [word, box] = [element.getBoundingClientRect(), this.element.getBoundingClientRect()];
    this.element.scrollTop += Math.min(0, word.top - box.top) + Math.max(0, word.bottom - box.bottom);
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

  /** Forget all words; those that come after them in the segment that grows are still shown. */
  clear() {
    this.cleared += this.growing?.words.length ?? 0;
    this.segments = [];
    this.said = [];
    this.growing = this.paragraph = this.playing = null;
    this.element.replaceChildren();
  }
}

/** Where the text of so many of a segment's words ends. */
function place(segment, count) {
  return segment.words.slice(0, count).reduce((at, { word }) => segment.text.indexOf(word, at) + word.length, 0);
}

/** Whether the segment's text has a space before a word; some scripts have none. */
function spaced(segment, index) {
  return segment.text[place(segment, index)] === " ";
}

/** A segment without so many of its first words. */
function rest(segment, count) {
  if (!count) return segment;
  const words = segment.words.slice(count);
  const text = segment.text.slice(place(segment, count)).trim();
  return { ...segment, start: words[0]?.start ?? segment.start, text, words };
}

/** A segment so many seconds later. */
function moved(segment, offset) {
  const later = (span) => ({ ...span, start: span.start + offset, end: span.end + offset });
  return { ...later(segment), words: segment.words.map(later) };
}
