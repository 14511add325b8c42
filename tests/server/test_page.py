"""What the page asks of the server; tests/browser has it in a browser."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from nemotron_asr.config import LATENCIES
from nemotron_asr.server.page.routes import FILES
from tests.conftest import Sample
from tests.server.conftest import Running, running


def test_the_page_and_all_that_it_names(server: Running) -> None:
    page = httpx.get(server.http)
    assert page.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    named = {*re.findall(r'"(/page/[\w.-]+)"', page.text)}
    for file in FILES.iterdir():
        named |= set(re.findall(r'"(/page/[\w-]+\.\w+)"', file.read_text(encoding="utf-8")))
    assert len(named) > 6
    for name in named:
        answer = httpx.get(server.http + name)
        assert answer.status_code == 200, name
        assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("file", sorted(FILES.iterdir()), ids=lambda file: file.name)
def test_nothing_comes_from_elsewhere(file: Path) -> None:
    content = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(?:https?:)?//[\w-]+\.\w", content)
    assert "innerHTML" not in content


@pytest.mark.parametrize("path", ["/page/../routes.py", "/page/%2e%2e/routes.py", "/page/nothing.js"])
def test_no_other_files(server: Running, path: str) -> None:
    assert httpx.get(server.http + path).status_code == 404


def test_choices(server: Running) -> None:
    choices = httpx.get(f"{server.http}/page/choices").json()
    assert choices["latencies_ms"] == list(LATENCIES)
    assert not choices["key_needed"]
    assert {"locale": "de-DE", "name": "German"} in choices["models"][0]["languages"]


def test_state(server: Running) -> None:
    state = httpx.get(f"{server.http}/page/state").json()
    (engine,) = state.values()
    assert engine["capacity"]["320"] == 64
    assert engine["late"] <= engine["chunks"]


def test_subtitles_are_those_of_the_transcript(server: Running, samples: list[Sample]) -> None:
    transcript = server.recognizer.transcribe(samples[0].path)
    body = json.dumps(transcript.to_dict())
    assert httpx.post(f"{server.http}/page/transcript.srt", content=body).text == transcript.to_srt()
    assert httpx.post(f"{server.http}/page/transcript.vtt", content=body).text == transcript.to_vtt()


WORD = '{"word": "b", "start": 0, "end": 1}'


@pytest.mark.parametrize(
    "body",
    [
        "", "[]", "{", "[" * 10_000, "{}", '{"segments": 1, "duration": 2}',
        '{"duration": 1, "segments": [{"words": [{"word": "a"}], "text": "b", "start": 0, "end": 1}]}',
        '{"duration": 1, "segments": [{"words": [], "text": "b", "start": 0, "end": 1e999}]}',
        f'{{"duration": 1, "segments": [{{"text": "b", "start": 0, "end": 1, "words": [{WORD}, {WORD}]}}]}}',
    ],
)  # fmt: skip
def test_what_is_no_transcript(server: Running, body: str) -> None:
    answer = httpx.post(f"{server.http}/page/transcript.srt", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("the body ")


def test_keys(tmp_path: Path) -> None:
    """The page itself is for everybody; state and subtitles are not."""
    keys = tmp_path / "keys"
    keys.write_text("a-long-secret-key-for-tests name=page\n")
    with running(api_key_file=keys) as server:
        assert httpx.get(server.http).status_code == 200
        assert httpx.get(f"{server.http}/page/choices").json()["key_needed"]
        assert httpx.get(f"{server.http}/page/state").status_code == 401
        assert httpx.post(f"{server.http}/page/transcript.srt", content="{}").status_code == 401
        shown: dict[str, Any] = {"Authorization": "Bearer a-long-secret-key-for-tests"}
        assert httpx.get(f"{server.http}/page/state", headers=shown).status_code == 200
