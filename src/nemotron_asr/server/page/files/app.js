// The page: what a person touches, and what happens then.

import { Captions } from "/page/captions.js";
import { download } from "/page/downloads.js";
import { Microphone } from "/page/microphone.js";
import { PATIENCE, Stream, transcribe } from "/page/stream.js";
import { Waveform } from "/page/waveform.js";

const $ = (id) => document.getElementById(id);
const captions = new Captions($("captions"), (seconds) => play(seconds));
const waveform = new Waveform($("waveform"), (share) => play(share * length()));
const names = new Map(); // locale -> name
let choices = { models: [], latencies_ms: [80, 160, 320, 560, 1120], key_needed: false };
let live = null; // { stream, microphone, waiting, timer, problem }
let upload = null; // AbortController of the file that is being transcribed
let heard = { name: "transcript", duration: 0 };
let frame = 0; // of the browser's, in which the player is looked at next

// Settings

const latency = () => choices.latencies_ms[$("latency").value];
const boost = () => $("boost").value.split(",").map((word) => word.trim()).filter(Boolean);
const headers = () => ($("key").value ? { Authorization: `Bearer ${$("key").value}` } : {});
const options = () => ({ model: $("model").value, language: $("language").value, latency_ms: latency(), boost: boost() });

async function prepare() {
  choices = await (await fetch("/page/choices")).json();
  $("model").replaceChildren(...choices.models.map(({ name }) => new Option(name)));
  $("model-field").hidden = choices.models.length < 2;
  $("key-field").hidden = !choices.key_needed;
  $("key").value = sessionStorage.getItem("key") ?? "";
  $("latency").max = choices.latencies_ms.length - 1;
  $("latencies").replaceChildren(...choices.latencies_ms.map((ms, i) => new Option(`${ms} ms`, i)));
  showLanguages();
  showLatency();
}

function showLanguages() {
  const model = choices.models.find(({ name }) => name === $("model").value);
  for (const { locale, name } of model?.languages ?? []) names.set(locale, name);
  $("language").replaceChildren(
    new Option("find out", "auto"), ...(model?.languages ?? []).map(({ locale, name }) => new Option(name, locale)));
}

function showLatency() {
  $("latency-shown").value = `${latency()} ms`;
  $("latency").setAttribute("aria-valuetext", `${latency()} milliseconds`);
}

$("model").addEventListener("change", showLanguages);
$("language").addEventListener("change", () => live?.stream?.change({ language: $("language").value }));
$("latency").addEventListener("input", showLatency);
$("latency").addEventListener("change", () => live?.stream?.change({ latency_ms: latency() }));
$("boost").addEventListener("change", () => live?.stream?.change({ boost: boost() }));
$("key").addEventListener("change", () => sessionStorage.setItem("key", $("key").value));
document.forms[0].addEventListener("submit", (event) => event.preventDefault());

// What is heard

function show(event, offset) {
  captions.show(event, offset);
  $("hint").hidden = !captions.empty;
  if (event.language) $("detected").value = names.get(event.language) ?? event.language;
}

function complain(problem) {
  $("problem").textContent = problem ?? "";
  $("problem").hidden = !problem;
}

// Speaking

async function speak() {
  leave();
  complain();
  const offset = heard.duration;
  const started = { stream: null, microphone: null, waiting: [] };
  live = started;
  press(true);
  try {
    started.microphone = await Microphone.open((packet) => {
      if (started.stream) started.stream.send(packet);
      else started.waiting.push(packet);
    }, () => miss(started));
  } catch (error) {
    ended(started, `No microphone: ${error.message}`);
    return;
  }
  if (live !== started) {
    ended(started); // stopped while the browser asked
    return;
  }
  const asked = { ...options(), encoding: "s16le", sample_rate: started.microphone.rate, token: $("key").value };
  const onEvent = (event) => {
    if (live !== started) return;
    if (started.timer) expect(started);
    heard.duration = Math.max(heard.duration, offset + event.time);
    show(event, offset);
  };
  started.stream = new Stream(asked, onEvent, (problem) => ended(started, problem));
  for (const packet of started.waiting.splice(0)) started.stream.send(packet);
}

async function stop() {
  const stopped = live;
  if (!stopped.stream) {
    ended(stopped);
    return;
  }
  if (stopped.timer) {
    hang(stopped); // pressed again
    return;
  }
  expect(stopped);
  await stopped.microphone.stop();
  stopped.stream.close();
}

/** After Stop, the server is waited for so long from the last that it said. */
function expect(which) {
  clearTimeout(which.timer);
  which.timer = setTimeout(() => hang(which), PATIENCE);
}

function hang(which) {
  which.stream.leave();
  ended(which, which.problem ?? "The server does not answer.");
}

/** The microphone says no more; what it has said is still transcribed. */
function miss(which) {
  which.problem = "The microphone is gone.";
  if (live === which && !which.timer) stop();
}

function ended(which, problem) {
  clearTimeout(which.timer);
  which.microphone?.stop().catch(() => {});
  if (live !== which) return;
  live = null;
  captions.settle();
  complain(problem ?? which.problem);
  press(false);
}

function press(speaking) {
  $("model").disabled = speaking; // a stream keeps its own
  $("speak").setAttribute("aria-pressed", speaking);
  $("speak-label").textContent = speaking ? "Stop" : "Speak";
}

$("speak").addEventListener("click", () => (live ? stop() : speak()));
addEventListener("beforeunload", (event) => {
  if (live) event.preventDefault();
});

// Files

async function open(file) {
  if (live) {
    live.stream?.leave();
    ended(live);
  }
  clear();
  upload = new AbortController();
  const { signal } = upload;
  heard = { name: file.name.replace(/\.[^.]*$/, ""), duration: 0 };
  $("audio").src = URL.createObjectURL(file);
  $("player").hidden = false;
  $("progress").value = 0;
  waveform.load(file, $("audio"));
  try {
    for await (const event of transcribe(file, { ...options(), latency_ms: 1120, encoding: "container" }, headers(), signal)) {
      if (signal.aborted) return;
      heard.duration = Math.max(heard.duration, event.time);
      show(event, 0);
      advance(Math.min(0.99, heard.duration / $("audio").duration || 0));
    }
    advance(1);
    heard.duration = length();
  } catch (error) {
    if (signal.aborted) return;
    captions.settle();
    complain(error.message);
  }
}

/** Hear no more of a file; the words that were heard of it stay. */
function leave() {
  upload?.abort();
  if (!live) captions.settle();
  $("audio").pause(); // or the microphone hears it
  $("player").hidden = true;
}

/** Seconds of the recording; what a browser has recorded itself may say that it is endless. */
function length() {
  const { duration } = $("audio");
  return Number.isFinite(duration) ? duration : heard.duration;
}

function advance(share) {
  $("progress").value = share;
  waveform.show({ heard: share });
}

function play(seconds) {
  if ($("player").hidden || !Number.isFinite(seconds)) return;
  $("audio").currentTime = seconds;
  $("audio").play();
}

function follow() {
  cancelAnimationFrame(frame); // a seek asks for one more
  const { currentTime, paused } = $("audio");
  const [word, duration] = [captions.play(currentTime), length() || 1];
  waveform.show({ played: currentTime / duration, word, duration });
  if (!paused) frame = requestAnimationFrame(follow);
}

$("audio").addEventListener("play", follow);
$("audio").addEventListener("seeked", follow);
$("file").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = "";
});

const stage = document.querySelector(".stage");
for (const type of ["dragover", "dragleave", "drop"]) {
  addEventListener(type, (event) => {
    event.preventDefault();
    stage.classList.toggle("over", type === "dragover");
    if (type === "drop") take(event.dataTransfer.files);
  });
}

function take(files) {
  if (files[0]) open(files[0]);
  if (files.length > 1) complain(`One file at a time: this is ${files[0].name}.`);
}

// Taking away

function clear() {
  leave();
  captions.clear();
  complain();
  heard = { name: "transcript", duration: 0 };
  $("hint").hidden = false;
  $("detected").value = $("done").textContent = "";
}

for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => {
    const form = button.dataset.download;
    const transcript = captions.transcript(heard.name, heard.duration);
    download(transcript, form, heard.name, headers()).then(
      () => ($("done").textContent = form === "copy" ? "Copied" : `Saved as ${form}`),
      (error) => complain(error.message));
  });
}
$("clear").addEventListener("click", clear);

// The server

async function watch() {
  const state = $("state");
  try {
    const response = await fetch("/page/state", { headers: headers(), signal: AbortSignal.timeout(PATIENCE) });
    if (response.ok) {
      const engines = Object.values(await response.json());
      const sum = (name) => engines.reduce((total, engine) => total + engine[name], 0);
      const room = Math.max(0, ...engines.map((engine) => (engine.capacity[latency()] ?? 0) - engine.streams));
      const late = sum("late");
      state.textContent = `${sum("streams")} live · room for ${room} more at ${latency()} ms · ${late} late chunks`;
      state.classList.toggle("late", late > 0.001 * sum("chunks"));
    } else {
      state.textContent = response.status === 401 ? "needs an API key" : "not ready";
    }
  } catch {
    state.textContent = "not reachable";
  }
  setTimeout(watch, 2000);
}

prepare().then(watch, () => complain("The server cannot be reached."));
