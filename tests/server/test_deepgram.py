"""Deepgram's protocol, through Deepgram's own client."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.core.request_options import RequestOptions
from deepgram.environment import DeepgramClientEnvironment
from deepgram.errors.bad_request_error import BadRequestError
from deepgram.listen.v1.types.listen_v1configure import ListenV1Configure
from deepgram.types.listen_v1model import ListenV1Model
from numpy.typing import NDArray
from starlette.datastructures import QueryParams
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from nemotron_asr.events import Segment, SpeechEnded, SpeechStarted, Word
from nemotron_asr.server.deepgram_query import FOREIGN_MODELS, read
from nemotron_asr.server.deepgram_shapes import recording
from nemotron_asr.transcript import Transcript
from tests.conftest import Sample
from tests.server.conftest import Running, running
from tests.server.contract import RATE, Contract, Request, Told, as_int16, as_wav

pytestmark = pytest.mark.filterwarnings("ignore:websockets:DeprecationWarning")  # the client imports what is old


@contextmanager
def client(server: Running) -> Iterator[DeepgramClient]:
    address = DeepgramClientEnvironment(base=server.http, production=server.websocket, agent="", agent_rest="")
    with httpx.Client() as http:
        yield DeepgramClient(api_key="none", environment=address, httpx_client=http)


@contextmanager
def media(server: Running) -> Iterator[Any]:
    with client(server) as connected:
        yield connected.listen.v1.media


def send(socket: Any, request: Request) -> None:
    for data, finalize in request.packets():
        socket.send_media(data)
        time.sleep(request.wait(data))
        if finalize:
            socket.send_finalize()
    if request.hang_up:
        socket._websocket.socket.close()
    else:
        socket.send_close_stream()


def talk(server: Running, say: Callable[[Any], None], **options: Any) -> list[Any]:
    """All messages of a connection on which `say` speaks in a thread of its own."""
    asked = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, "language": "multi", **options}
    with client(server) as connected, connected.listen.v1.connect(**asked) as socket:
        speaking = threading.Thread(target=say, args=(socket,))
        speaking.start()
        messages = list[Any]()
        socket.on(EventType.MESSAGE, messages.append)
        socket.start_listening()
        speaking.join()
    return messages


def told(message: Any) -> list[Told]:
    best = message.channel.alternatives[0]
    words = tuple((word.punctuated_word, word.start, word.end) for word in best.words)
    language = best.languages[0] if best.languages else None
    said = [Told("final" if message.is_final else "partial", best.transcript, words, language)]
    said = said if best.transcript else []
    return said + ([Told("finalized")] if message.from_finalize else [])


class TestLive(Contract):
    def converse(self, server: Running, request: Request) -> list[Told]:
        language = "multi" if request.language == "auto" else request.language
        messages = talk(
            server, lambda socket: send(socket, request), language=language, interim_results=request.interim
        )
        return [one for message in messages if message.type == "Results" for one in told(message)]


def results(messages: list[Any]) -> list[Any]:
    return [message for message in messages if message.type == "Results"]


def test_a_connection_ends_with_metadata(server: Running, speech: NDArray[np.int16]) -> None:
    *_, last = talk(server, lambda socket: send(socket, Request(speech)))
    assert last.type == "Metadata"
    assert last.duration == pytest.approx(len(speech) / RATE, abs=0.001)
    assert last.channels == 1
    assert last.sha256 == hashlib.sha256(speech.tobytes()).hexdigest()


def test_results_lie_side_by_side(server: Running, speech: NDArray[np.int16]) -> None:
    finals = [one for one in results(talk(server, lambda socket: send(socket, Request(speech)))) if one.is_final]
    for before, after in pairwise(finals):
        assert after.start == pytest.approx(before.start + before.duration)
    for one in finals:
        for word in one.channel.alternatives[0].words:
            assert one.start <= word.start < word.end <= one.start + one.duration + 0.001
            assert word.word == word.word.lower()
            assert word.punctuated_word


def test_the_end_of_speech(server: Running, speech: NDArray[np.int16]) -> None:
    session = server.recognizer.engine.open()
    session.feed(speech)
    session.close()
    events = list(session)
    starts = [event.time for event in events if isinstance(event, SpeechStarted)]
    ends = [event.time for event in events if isinstance(event, SpeechEnded)]
    options = {"vad_events": True, "endpointing": 800, "utterance_end_ms": 800}
    messages = talk(server, lambda socket: send(socket, Request(speech)), **options)
    assert [one.timestamp for one in messages if one.type == "SpeechStarted"] == starts
    assert sum(one.speech_final for one in results(messages)) == len(ends) > 1
    silences = zip(ends, [*starts[1:], session.duration], strict=True)
    expected = [end for end, next_start in silences if round(next_start - end, 3) >= 0.8]
    assert [one.last_word_end for one in messages if one.type == "UtteranceEnd"] == pytest.approx(expected, abs=0.08)
    kinds = [one.type if one.type != "Results" or one.speech_final else "" for one in messages]
    assert [kind for kind in kinds if kind][:3] == ["SpeechStarted", "Results", "UtteranceEnd"]


def test_no_end_of_speech(server: Running, speech: NDArray[np.int16]) -> None:
    messages = talk(server, lambda socket: send(socket, Request(speech)), endpointing="false")
    assert not any(one.speech_final for one in results(messages))


def test_finalize_of_nothing_is_answered(server: Running, silence: NDArray[np.int16]) -> None:
    answer, _ = talk(server, lambda socket: send(socket, Request(silence, finalize_at=len(silence))))
    assert answer.from_finalize
    assert answer.is_final
    assert not answer.channel.alternatives[0].transcript


def test_channels_one_by_one(server: Running, samples: list[Sample]) -> None:
    left, right = (as_int16(sample.audio) for sample in samples[:2])
    both = np.zeros((max(len(left), len(right)), 2), np.int16)
    both[: len(left), 0], both[: len(right), 1] = left, right
    messages = talk(server, lambda socket: send(socket, Request(both.reshape(-1), 3200)), multichannel=True, channels=2)
    assert messages[-1].channels == 2
    for channel in range(2):
        heard = server.recognizer.transcribe((both[:, channel], RATE), latency_ms=320)
        said = [one for one in results(messages) if one.channel_index == [channel, 2]]
        assert " ".join(one.channel.alternatives[0].transcript for one in said).split() == heard.text.split()


def test_a_client_that_keeps_alive_is_kept(silence: NDArray[np.int16]) -> None:
    def rest(socket: Any) -> None:
        for _ in range(5):
            time.sleep(0.8)
            socket.send_keep_alive()
        send(socket, Request(silence))

    with running(idle_seconds=3) as server:
        assert talk(server, rest)[-1].type == "Metadata"
        *_, error = talk(server, lambda _: time.sleep(5))
    assert (error.type, error.variant) == ("Error", "NET-0001")


def test_key_terms_change(server: Running) -> None:
    def say(socket: Any) -> None:
        socket.send_configure(ListenV1Configure(keyterms=["Parakeet", "Nemotron"]))
        socket.send_configure(ListenV1Configure(keyterms=["x" * 1000]))
        socket._send('{"type": "Configure", "keyterms": "Parakeet"}')
        socket.send_configure(ListenV1Configure(features={"numerals": True}))
        socket.send_close_stream()

    done, failed, unclear, also_done, _ = talk(server, say, keyterm=["Canary"], keywords=["snuffleupagus:2"])
    assert (done.type, done.keyterms) == ("ConfigureSuccess", ["Parakeet", "Nemotron"])
    assert (failed.type, failed.code) == ("ConfigureFailure", "CONFIGURE_KEYTERM_LIMIT_EXCEEDED")
    assert (unclear.type, unclear.variant) == ("Error", "SchemaError")
    assert also_done.type == "ConfigureSuccess"


def test_key_terms_and_keywords_are_phrases_with_weights() -> None:
    wish = read(QueryParams("keyterm=Nemotron&keyterm=Frau Holle&keywords=Ada:2&keywords=Bob&keywords=Eve:-3"))
    assert wish.options["boost"] == {"Ada": 2.0, "Bob": 1.0, "Eve": 0.0, "Nemotron": 1.0, "Frau Holle": 1.0}


def test_deepgrams_own_models(server: Running) -> None:
    for name in get_args(get_args(ListenV1Model)[0]):
        assert server.service.models.find(name, FOREIGN_MODELS).name == "tiny"


def test_a_message_that_is_not_understood_is_named(server: Running, speech: NDArray[np.int16]) -> None:
    def say(socket: Any) -> None:
        socket._send("no JSON")
        socket._send('{"type": "Sing"}')
        send(socket, Request(speech))

    first, second, *rest = talk(server, say)
    for message in (first, second):
        assert (message.type, message.variant) == ("Error", "SchemaError")
    assert (first.message, second.message) == ("no JSON", '{"type": "Sing"}')
    assert any(one.channel.alternatives[0].transcript for one in results(rest))


def test_what_is_not_audio_closes(server: Running) -> None:
    url = f"{server.websocket}/v1/listen?model=nova-3"
    with connect(url) as socket:
        socket.send(b"RIFF\x00\x00\x00\x00WAVEfmt  no wave at all" + bytes(100_000))
        message = json.loads(socket.recv())
        assert (message["type"], message["variant"]) == ("Error", "DATA-0000")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason.startswith("DATA-0000")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "parakeet"}, "model 'parakeet' is unknown"),
        ({"language": "xx"}, "language 'xx' is unknown"),
        ({"encoding": "speex"}, "encoding 'speex' is not offered"),
        ({"sample_rate": None}, "needs a sample_rate"),
        ({"sample_rate": 7}, "7"),
        ({"redact": "pci"}, "redact is not offered"),
        ({"interim_results": "perhaps"}, "interim_results is 'perhaps'"),
        ({"endpointing": "soon"}, "endpointing is 'soon'"),
        ({"channels": 100}, "100 channels"),
        ({"multichannel": "true", "encoding": "flac"}, "multichannel needs channels"),
    ],
)
def test_a_connection_is_refused(server: Running, wrong: dict[str, Any], said: str) -> None:
    query = {"model": "nova-3", "encoding": "linear16", "sample_rate": 16_000, **wrong}
    url = f"{server.websocket}/v1/listen?{urlencode({name: query[name] for name in query if query[name]})}"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == (404 if "model" in wrong else 400)
    assert said in json.loads(refused.value.response.body)["err_msg"]
    assert said in refused.value.response.headers["dg-error"]


def test_browsers_show_their_key_in_a_subprotocol(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("hush name=page\n")
    with running(api_key_file=str(tmp_path / "keys")) as server:
        url = f"{server.websocket}/v1/listen?model=nova-3"
        with connect(url, subprotocols=[Subprotocol("token"), Subprotocol("hush")]) as socket:
            assert socket.subprotocol == "token"
        with connect(url, additional_headers={"Authorization": "Token hush"}):
            pass
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers={"Authorization": "Token no"}):
            pass
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body)["err_code"] == "INVALID_AUTH"


class TestRecordings(Contract):
    interim = finalizes = False
    latency_ms = 1120

    def converse(self, server: Running, request: Request) -> list[Told]:
        detecting = {"detect_language": True} if request.language == "auto" else {"language": request.language}
        patience = RequestOptions(timeout_in_seconds=1 if request.hang_up else 60, max_retries=0)
        with media(server) as connected:
            try:
                said = connected.transcribe_file(
                    request=as_wav(request.samples), model="nova-3", utterances=True, request_options=patience,
                    **detecting,
                )  # fmt: skip
            except httpx.TimeoutException:
                assert request.hang_up
                return []
        return [
            Told("final", one.transcript, tuple((word.punctuated_word, word.start, word.end) for word in one.words),
                 one.languages[0] if one.languages else None)
            for one in said.results.utterances
        ]  # fmt: skip


def test_a_recording_in_a_container(server: Running, samples: list[Sample]) -> None:
    data = Path(samples[0].path).read_bytes()
    with media(server) as connected:
        said = connected.transcribe_file(request=data, model="nova-3", detect_language=True)
    heard = server.recognizer.transcribe(samples[0].path, latency_ms=1120)
    (channel,) = said.results.channels
    assert channel.alternatives[0].transcript == heard.text
    assert channel.detected_language == heard.language
    assert said.metadata.duration == pytest.approx(heard.duration, abs=0.001)
    assert said.metadata.sha256 == hashlib.sha256(data).hexdigest()
    assert said.metadata.model_info[said.metadata.models[0]]["name"] == "tiny"


def test_paragraphs(server: Running, speech: NDArray[np.int16]) -> None:
    with media(server) as connected:
        said = connected.transcribe_file(request=as_wav(speech), model="nova-3", paragraphs=True)
        without = connected.transcribe_file(request=as_wav(speech), model="nova-3")
    heard = server.recognizer.transcribe((speech, RATE), latency_ms=1120)
    paragraphs = said.results.channels[0].alternatives[0].paragraphs
    assert paragraphs.transcript == "\n" + "\n\n".join(segment.text for segment in heard.segments)
    for one, segment in zip(paragraphs.paragraphs, heard.segments, strict=True):
        assert (one.start, one.end, one.num_words) == (segment.start, segment.end, len(segment.words))
        assert "".join(sentence.text for sentence in one.sentences).split() == segment.text.split()
        assert one.sentences[0].start == segment.words[0].start
        assert one.sentences[-1].end == segment.words[-1].end
    assert without.results.channels[0].alternatives[0].paragraphs is None


def test_sentences_of_a_paragraph() -> None:
    words = [Word(word, number, number + 0.5, 1.0) for number, word in enumerate(["So.", "Yes,", "Mr", "A.", "who"])]
    segment = Segment(0, 5, "So. Yes, Mr A. who", None, 1.0, tuple(words))
    content = recording([Transcript(5, None, (segment,))], "tiny", "", "", read(QueryParams("paragraphs=true")))
    (paragraph,) = content["results"]["channels"][0]["alternatives"][0]["paragraphs"]["paragraphs"]
    assert paragraph["sentences"] == [
        {"text": "So.", "start": 0, "end": 0.5},
        {"text": "Yes, Mr A.", "start": 1, "end": 3.5},
        {"text": "who", "start": 4, "end": 4.5},
    ]


def test_channels_of_a_recording(server: Running, samples: list[Sample]) -> None:
    left, right = (as_int16(sample.audio)[: 2 * RATE] for sample in samples[:2])
    data = as_wav(np.stack([left, right], axis=1), channels=2)
    with media(server) as connected:
        said = connected.transcribe_file(request=data, model="nova-3", multichannel=True)
    assert said.metadata.channels == 2
    for channel, samples_of_it in zip(said.results.channels, (left, right), strict=True):
        heard = server.recognizer.transcribe((samples_of_it, RATE), latency_ms=1120)
        assert channel.alternatives[0].transcript == heard.text


def test_recordings_that_are_refused(server: Running) -> None:
    with media(server) as connected:
        with pytest.raises(BadRequestError) as refused:
            connected.transcribe_file(request=b"no audio" * 100, model="nova-3")
        assert refused.value.body["err_code"] == "Bad Request"
        with pytest.raises(BadRequestError, match="from a URL"):
            connected.transcribe_url(url="http://localhost/talk.wav", model="nova-3")
