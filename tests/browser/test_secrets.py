"""A page of somebody else's: it has no API key, only a secret that its own server was given for it."""

import base64
from pathlib import Path

import openai
from selenium.webdriver import Chrome

from tests.browser.conftest import LONG
from tests.conftest import Sample
from tests.server.conftest import running
from tests.server.contract import RATE, as_int16
from tests.server.test_openai_realtime import turns_of, wanted

SPEAK = """
  const [url, secret, packets, done] = arguments;
  const socket = new WebSocket(url, ["realtime", `openai-insecure-api-key.${secret}`]);
  const events = [];
  const say = (event) => socket.send(JSON.stringify(event));
  socket.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    events.push(event);
    if (event.type === "session.created") {
      for (const audio of packets) say({ type: "input_audio_buffer.append", audio });
      say({ type: "input_audio_buffer.commit" });
    }
    if (event.type.endsWith(".completed") || event.type === "error") socket.close();
  };
  socket.onclose = () => done(events);
"""


def test_a_secret_is_all_that_a_browser_needs(browser: Chrome, tmp_path: Path, samples: list[Sample]) -> None:
    speech = as_int16(samples[0].audio)
    (tmp_path / "keys").write_text("hush\n")
    packets = [base64.b64encode(speech[at : at + 8000].tobytes()).decode() for at in range(0, len(speech), 8000)]
    with running(max_streams=8, api_key_file=str(tmp_path / "keys")) as server:
        with openai.OpenAI(api_key="hush", base_url=f"{server.http}/v1") as office:
            minted = office.realtime.client_secrets.create(session=wanted(RATE, language="de"))
        browser.set_script_timeout(LONG)
        browser.get(server.http)
        url = f"{server.websocket}/v1/realtime?intent=transcription"
        events = browser.execute_async_script(SPEAK, url, minted.value, packets)
        heard = turns_of(server, speech, [], language="de", endpointing_ms=None)
        assert browser.execute_async_script(SPEAK, url, "ek_wrong", packets) == []
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert events[-1]["transcript"] == heard.text == "".join(deltas)
