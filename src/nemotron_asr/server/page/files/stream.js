// The server's `/v1/stream`, by WebSocket for live speech and by POST for recordings.

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
    this.socket.onopen = () => this.waiting.splice(0).forEach((message) => this.socket.send(message));
    this.socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "error") this.problem = event.message;
      else onEvent(event);
    };
    this.socket.onclose = ({ code }) => onEnd(this.problem ?? (code === 1000 ? null : refusal(code)));
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
}

function refusal(code) {
  return code === 1006
    ? "The server did not take the stream: it is full, stopping, or asks for an API key."
    : `The connection ended (${code}).`;
}

/** Transcribe a file; yields its events as they come. Throws what the server says is wrong. */
export async function* transcribe(file, options, headers, signal) {
  const response = await fetch(`/v1/stream?${query(options)}`, { method: "POST", body: file, headers, signal });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new Error(answer?.error?.message ?? `The server answered ${response.status}.`);
  }
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
