"""Requests over HTTP: each is answered, and never by a 500."""

import io
import wave
from urllib.parse import urlencode

import httpx2 as httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.server.conftest import Running
from tests.server.fuzz.messages import BETA, FORM, QUERY, SESSION, TRANSCRIPT
from tests.server.fuzz.strategies import SOUND, TEXT, Bounded, Slow, as_json, one_of, some_of, spoilt

pytestmark = pytest.mark.usefixtures("neighbour")

ANSWERS = {200, 400, 404, 413}
BOUNDARY = "frontier"


def post(server: Running, path: str, body: bytes | str, **headers: str) -> httpx.Response:
    """Say something; the answer, which is no fault of ours."""
    content = body if isinstance(body, bytes) else body.encode(errors="surrogatepass")
    answer = httpx.post(server.http + path, content=content, headers=headers, timeout=30)
    assert answer.status_code in ANSWERS, answer.text
    return answer


def wav(samples: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, 16_000, 0, "NONE", ""))
        writer.writeframes(samples)
    return file.getvalue()


def form(fields: list[tuple[str, str]], file: bytes) -> bytes:
    """A form with a file."""
    named = [(f'name="{name}"', value.encode(errors="replace")) for name, value in fields]
    parts = [*named, ('name="file"; filename="a.wav"', file)]
    written = [
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode(errors="replace") + value + b"\r\n"
        for name, value in parts
    ]
    return b"".join(written) + f"--{BOUNDARY}--\r\n".encode()


CHARSETS = one_of("", "; charset=utf-16", "; charset=unicode_escape", "; charset=hex", "; charset=no\0thing")


@given(FORM, SOUND.map(wav) | st.just(b"RIFF"), CHARSETS, st.booleans())
@Slow
def test_openai_forms(server: Running, fields: list[tuple[str, str]], file: bytes, charset: str, named: bool) -> None:
    kind = f"multipart/form-data; boundary={BOUNDARY}{charset}" if named else "multipart/form-data"
    answer = post(server, "/v1/audio/transcriptions", form(fields, file), **{"Content-Type": kind.replace("\0", "%00")})
    assert answer.status_code == 200 or answer.json()["error"]["message"]


@pytest.mark.filterwarnings("ignore:Exception ignored in.*SpooledTemporaryFile")  # Starlette's, of forms that break off
@given(spoilt(st.just(form([("model", "tiny"), ("stream", "true")], wav(bytes(64))))))
@Slow
def test_bytes_of_forms(server: Running, body: bytes) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    post(server, "/v1/audio/transcriptions", body, **headers)


@given(QUERY, SOUND.map(wav))
@example([("longest_segment_ms", "9" * 400)], b"")
@Bounded
def test_deepgram_recordings(server: Running, query: list[tuple[str, str]], body: bytes) -> None:
    options = urlencode([(name, value.encode(errors="replace")) for name, value in query], errors="replace")
    post(server, f"/v1/listen?encoding=linear16&sample_rate=8000&{options}", body)


OPTIONS = one_of(
    "model", "language", "languages", "latency_ms", "boost", "endpointing_ms", "longest_segment_ms", "vad", "channel",
    "keep_language_tags", "encoding", "sample_rate", "channels", "interim_results",
)  # fmt: skip
VALUES = TEXT | one_of("mulaw", "s24le", "container", "8000", "2", "none", "true", "a:1", "a:nan", "9" * 400)


@given(st.lists(st.tuples(OPTIONS, VALUES), max_size=3), SOUND | spoilt(SOUND.map(wav)))
@example([("interim_results", "2")], b"")
@Bounded
def test_native_options(server: Running, query: list[tuple[str, str]], body: bytes) -> None:
    written = urlencode([(name, value.encode(errors="replace")) for name, value in query])
    answer = post(server, f"/v1/stream?{written}", body)
    assert answer.status_code == 200 or answer.json()["error"]["message"]


MINTED = some_of(session=SESSION, expires_after=some_of(seconds=st.integers())) | BETA


@given(one_of("client_secrets", "transcription_sessions"), as_json(MINTED))
@Bounded
def test_secrets(server: Running, path: str, body: str) -> None:
    answer = post(server, f"/v1/realtime/{path}", body)
    assert answer.status_code == 200 or answer.json()["error"]["message"]


@given(one_of("srt", "vtt"), as_json(TRANSCRIPT))
@Bounded
def test_subtitles(server: Running, path: str, body: str) -> None:
    post(server, f"/page/transcript.{path}", body)
