// The transcript to take away.

import { problem } from "/page/stream.js";

const TYPES = { txt: "text/plain", json: "application/json", srt: "application/x-subrip", vtt: "text/vtt" };

/** The transcript in a form; subtitles are cut by the server, where the command line has them from, too. */
async function written(transcript, form, headers) {
  if (form === "txt" || form === "copy") return transcript.segments.map((segment) => segment.text).join("\n");
  const json = JSON.stringify(transcript, null, 2);
  if (form === "json") return json;
  const response = await fetch(`/page/transcript.${form}`, { method: "POST", body: json, headers });
  if (!response.ok) throw await problem(response);
  return response.text();
}

/** Browsers have a clipboard on https and localhost only; elsewhere what is selected is copied, as of old. */
function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.body.appendChild(document.createElement("textarea"));
  area.value = text;
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  if (!copied) throw new Error("The browser does not let this page copy: that needs https, or localhost.");
}

/** Copy the transcript, or save it under a name. */
export async function download(transcript, form, name, headers) {
  const text = await written(transcript, form, headers);
  if (form === "copy") return copy(text);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: TYPES[form] }));
  link.download = `${name}.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
