// The transcript to take away.

const TYPES = { txt: "text/plain", json: "application/json", srt: "application/x-subrip", vtt: "text/vtt" };

/** The transcript in a form; subtitles are cut by the server, where the command line has them from, too. */
async function written(transcript, form, headers) {
  if (form === "txt" || form === "copy") return transcript.segments.map((segment) => segment.text).join("\n");
  const json = JSON.stringify(transcript, null, 2);
  if (form === "json") return json;
  const response = await fetch(`/page/transcript.${form}`, { method: "POST", body: json, headers });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return response.text();
}

/** Copy the transcript, or save it under a name. */
export async function download(transcript, form, name, headers) {
  const text = await written(transcript, form, headers);
  if (form === "copy") return navigator.clipboard.writeText(text);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: TYPES[form] }));
  link.download = `${name}.${form}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
