"""What reads requests, without sockets: it understands them, or says in one line what is wrong."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import FormData, QueryParams, UploadFile

from nemotron_asr.cli import commands
from nemotron_asr.errors import NemotronError, OptionError
from nemotron_asr.server import deepgram_query, nim_session, openai_form, openai_session, wyoming_events
from nemotron_asr.server.checks import check_names_and_types
from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.keys import Keys
from nemotron_asr.server.objects import object_of
from nemotron_asr.server.problems import Problem
from nemotron_asr.server.riva_messages import StreamingRequest, parse
from nemotron_asr.server.riva_shapes import wish_of
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.wav import read_header
from tests.server.fuzz.messages import BETA, CHANGE, FORM, NIM, QUERY, SESSION, TRANSCRIBE, WAV, riva_config
from tests.server.fuzz.strategies import TEXT, Quick, as_json, one_of, spoilt


def understood(read: Callable[..., Any], *arguments: Any) -> None:
    """Read; or be told what is wrong, in a line that can be sent."""
    said = ""
    try:
        read(*arguments)
    except Problem as problem:
        said = str(problem)
    assert "\n" not in said
    assert said.encode() is not None


def received(message: Any) -> Any:
    """As it comes out of the parser: a number that is too large does not."""
    return object_of(json.dumps({"it": message}))["it"]


@given(SESSION, BETA)
@Quick
def test_openai_sessions(session: Any, beta: Any) -> None:
    def read(update: Any) -> None:
        whole = openai_session.updated(openai_session.new_session(), update)
        openai_session.read(whole)
        openai_session.to_beta(whole)

    understood(lambda: read(received(session)))
    understood(lambda: read(openai_session.from_beta(received(beta))))


@given(NIM)
@example({"input_audio_format": []})
@example({"input_audio_transcription": {"language": []}})
@example({"word_boosting": {"enable_word_boosting": True, "word_boosting_list": 1}})
@Quick
def test_nim_sessions(session: dict[str, Any]) -> None:
    with suppress(Problem):
        whole = {**nim_session.new_session("tiny"), **received(session)}
        for read in (nim_session.form_of, nim_session.options_of, nim_session.model_of, nim_session.wants_words):
            understood(read, whole)
        understood(lambda: check_names_and_types(nim_session.options_of(whole)))


@given(QUERY)
@Quick
def test_deepgram_queries(query: list[tuple[str, str]]) -> None:
    understood(deepgram_query.read, QueryParams(query))


@given(FORM)
@Quick
def test_openai_forms(fields: list[tuple[str, str]]) -> None:
    understood(openai_form.read, FormData([*fields, ("file", UploadFile(BytesIO(b"")))]))


@given(spoilt(riva_config().map(lambda request: bytes(request.SerializeToString()))))
@Quick
def test_riva_messages(data: bytes) -> None:
    understood(lambda: wish_of(parse(StreamingRequest, data).streaming_config.config))


@given(spoilt(as_json(TRANSCRIBE).map(lambda text: text.encode() + b"\n")))
@Quick
def test_wyoming_events(data: bytes) -> None:
    async def read() -> None:
        reader = asyncio.StreamReader(wyoming_events.LONGEST_LINE)
        reader.feed_data(data)
        reader.feed_eof()
        while (event := await wyoming_events.read_event(reader, Settings())) is not None:
            for look in (wyoming_events.options_of, wyoming_events.format_of):
                understood(look, event)

    understood(lambda: asyncio.run(read()))


@given(CHANGE)
@Quick
def test_options(options: dict[str, Any]) -> None:
    understood(check_names_and_types, {name: value for name, value in options.items() if name != "type"})


@given(spoilt(WAV))
@Quick
def test_wav_headers(data: bytes) -> None:
    understood(read_header, data, AudioFormat())


LINE = st.lists(TEXT | one_of("name=a", "streams=3", "seconds_per_day=1e9", "streams=-1", "seconds_per_day=nan"))


@given(st.lists(LINE.map(" ".join)).map("\n".join).map(lambda text: text.encode(errors="replace")) | st.binary())
@example(b"a streams=-1")
@example(b"a seconds_per_day=nan")
@Quick
def test_files_of_keys(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "keys").write_bytes(data)
    with suppress(OptionError):
        for key in Keys(str(tmp_path / "keys")).all():
            assert key.streams is None or key.streams >= 0
            assert key.seconds_per_day is None or key.seconds_per_day >= 0


VALUE = one_of(
    "1", '"a"', "-1", "nan", "true", "[1, 2]", '["a"]', "2020-01-01", "{a = 1}", "1e400", "9" * 30, '"\\u0000"'
)
NAME = one_of("port", "host", "model", "max_streams", "cors_origin", "log_transcripts", "tls_key", "otel") | TEXT
TOML = st.lists(st.tuples(NAME, VALUE | TEXT).map(" = ".join), max_size=3).map("\n".join)


@given(TOML.map(lambda text: text.encode(errors="replace")) | st.binary())
@example(b"port = [1, 2]")
@Quick
def test_files_of_settings(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "server.toml").write_bytes(data)
    outcome = CliRunner().invoke(commands, ["serve", "--print-config", "--config", str(tmp_path / "server.toml")])
    assert outcome.exit_code in {0, 2} or isinstance(outcome.exception, NemotronError), outcome.exception
