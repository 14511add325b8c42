// The server's `/v1/stream`, by WebSocket for live speech and by POST for recordings.

/** Milliseconds within which the server should answer. */
export const PATIENCE = 5000;

/** The query of a stream from options; lists are repeated, empty values left out. */
export function query(options) {
  const pairs = Object.entries(options).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  return new URLSearchParams(pairs.filter(([, value]) => value !== "" && value != null));
}

/** A live stream: `send` packets, `change` options; `onEvent` is called with every event, `onEnd(problem)` once. */
export class Stream {
  constructor(options, onEvent, onEnd) {
    const url = new URL(`/v1/stream?${query(options)}`, location.href.replace(/^http/, "ws"));
    this.waiting = [];
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.opened = true;
      this.waiting.splice(0).forEach((message) => this.socket.send(message));
    };
    this.socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") this.problem = event.message;
      else onEvent(event);
    };
    this.socket.onclose = async ({ code }) => onEnd(this.problem ?? (this.opened ? ending(code) : await refusal(options)));
  }

  /** Send audio, or a control message as an object. */
  send(message) {
    const data = message instanceof ArrayBuffer ? message : JSON.stringify(message);
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(data);
    else if (this.socket.readyState === WebSocket.CONNECTING) this.waiting.push(data);
  }

  /** Change the language, the latency or the likely words from now on. */
  change(options) {
    this.send({ type: "change", ...options });
  }

  /** No more audio; what is left to say is said first. */
  close() {
    this.send({ type: "close" });
  }

  /** Hear no more of it. */
  leave() {
    this.socket.onclose = null; // nobody asks why
    this.socket.close();
  }
}

function ending(code) {
  if (code === 1000) return null;
  return code === 1006 ? "The connection was lost." : `The connection ended (${code}).`;
}

/** Why a stream was not taken: browsers do not tell, but the same question without audio is answered. */
async function refusal(options) {
  try {
    for await (const _ of transcribe(new Blob(), options, {}, AbortSignal.timeout(PATIENCE))) break;
  } catch (error) {
    if (error.name === "TypeError") return "The server cannot be reached.";
    if (error.name !== "TimeoutError") return error.message;
  }
  return "The server did not take the stream: it is full, or stopping.";
}

/** What the server says is wrong. */
export async function problem(response) {
  const answer = await response.json().catch(() => null);
  return new Error(answer?.error?.message ?? `The server answered ${response.status}.`);
}

/** Transcribe a file; yields its events as they come. Throws what the server says is wrong. */
export async function* transcribe(file, options, headers, signal) {
  const response = await fetch(`/v1/stream?${query(options)}`, { method: "POST", body: file, headers, signal });
  if (!response.ok) throw await problem(response);
  let rest = "";
  for await (const text of texts(response.body)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean)) {
      const event = JSON.parse(line);
      if (event.type === "error") throw new Error(event.message);
      yield event;
    }
  }
}

async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
}
