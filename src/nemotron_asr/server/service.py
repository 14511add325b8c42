"""What all adapters share: models, keys, limits, counters; and the one way to open a conversation."""

import asyncio
import logging
import secrets
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from nemotron_asr.engine.promise import in_background
from nemotron_asr.engine.settings import check_options
from nemotron_asr.errors import NemotronError
from nemotron_asr.languages import AUTO
from nemotron_asr.server.audio_input import AudioInput
from nemotron_asr.server.bounds import Bounds
from nemotron_asr.server.checks import check_names_and_types, without_regions
from nemotron_asr.server.conversation import Conversation, Prepare
from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.keys import Key, Keys
from nemotron_asr.server.media import Decoders
from nemotron_asr.server.metrics import Metrics
from nemotron_asr.server.models import Model, Models
from nemotron_asr.server.phrases import Phrases
from nemotron_asr.server.problems import Kind, Problem, problem_of, translated
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.traces import traces_of
from nemotron_asr.server.waits import Waits, stopping
from nemotron_asr.server.watch import Watch

logger = logging.getLogger(__name__)


LAST_WORDS = 5
"""Seconds that a stream which was closed has to tell what was heard; and that one which was aborted has to say so."""

FAREWELL = 0.2
"""Seconds for what clients are told behind the end of their streams."""


class Service:
    """Owns everything that outlives a request. Its methods are called in the event loop's thread.

    Attributes:
        settings: how it is set up.
        models: by name.
        keys: who may come in.
        metrics: what Prometheus reads.
        conversations: those that are open.
        traces: OpenTelemetry's, if the environment asks for them.
        ports: where it listens, by protocol.
        ready: its models are loaded and warm, and it is not about to stop.
        draining: it is about to stop, and lets nobody in.
        waits: for what clients send.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.models = Models()
        self.keys = Keys(settings.api_key_file)
        self.metrics = Metrics(self.models)
        self.conversations: set[Conversation] = set()
        self.ports: dict[str, int] = {}
        self.ready = self.draining = False
        self._decoders = Decoders(
            settings.max_decoders, settings.max_live_decoders, settings.max_audio_seconds, settings.decoder_megabytes
        )
        self._phrases = Phrases(settings.max_phrases)
        self.traces = traces_of()
        self.waits = Waits()
        self._uploads = 0
        self._left = asyncio.Event()  # a conversation has ended, or an upload

    async def start(self) -> None:
        """Load the models.

        Raises:
            NemotronError: one of them is not there.
        """
        self._decoders.prepare()
        await in_background(partial(self.models.load, self.settings), "nemotron-asr loading")
        self.ready = not self.draining

    def authenticate(self, token: str | None, protocol: str) -> Key:
        """The key that a client shows.

        Raises:
            Problem: none, or an unknown one.
        """
        with self.refusing(protocol):
            return self.keys.check(token)

    async def open(
        self, key: Key, protocol: str, form: AudioFormat, *,
        model: str | None = None, foreign: Iterable[str] = (), recording: bool = False, **options: Any,
    ) -> Conversation:  # fmt: skip
        """Open a conversation; use it as an asynchronous context.

        Args:
            key: from `authenticate`.
            protocol: its name in metrics and logs.
            form: what will be fed.
            model: the name that the client gives; nothing is the first one.
            foreign: patterns of model names that clients of this protocol send to other services: the first one. Those
                know languages in regions that the model does not have, too.
            recording: nobody waits for single words, so live streams go first; it is not counted among them.
            options: `nemotron_asr.options.Options`.

        Raises:
            Problem: it is refused.
        """
        with self.refusing(protocol, key):
            found = self.models.find(model, foreign)
            prepare = partial(self._prepared, model=found, foreign=bool(foreign))
            return await self._open(key, protocol, form, found, prepare, recording, options)

    async def check(self, model: str, foreign: Iterable[str], **options: Any) -> None:
        """Look whether a conversation could be opened with these options, without opening one.

        Raises:
            Problem: it could not.
        """
        found = self.models.find(model, foreign)
        with translated():
            prepared = await self._prepared(options, model=found, foreign=bool(foreign))
            check_options(found.recognizer, **prepared)

    async def channels(self, path: str) -> int:
        """How many a recording has, whatever it is.

        Raises:
            Problem: it is not usable.
        """
        async with self.waits.within(), self._decoders.decoding() as decoding:
            return await decoding.count_channels(path)

    @contextmanager
    def uploading(self, key: Key, protocol: str) -> Iterator[None]:
        """Room for one recording that is taken in; it is let in when it has come, though the server be about to stop.

        Raises:
            Problem: as many as may be are on their way, of this key or of all; or the server is about to stop.
        """
        with ExitStack() as room:
            with self.refusing(protocol, key):
                if self.draining:
                    raise stopping()
                if self._uploads >= self.settings.max_uploads:
                    message = f"{self._uploads} recordings are being taken in, which is the limit"
                    raise Problem(Kind.UNAVAILABLE, message)
                room.enter_context(key.uploading())
            self._uploads += 1
            try:
                yield
            finally:
                self._uploads -= 1
                self._left.set()

    @contextmanager
    def refusing(self, protocol: str, key: Key | None = None) -> Iterator[None]:
        """Who is refused in here is counted and logged, as a problem."""
        try:
            yield
        except NemotronError as error:
            problem = problem_of(error)
            self.refused(problem, protocol, key)
            raise problem from error

    def refused(self, problem: Problem, protocol: str, key: Key | None = None) -> None:
        """Somebody is told of a problem: count and log it, unless that was done where it came up."""
        if problem.counted:
            return
        problem.counted = True
        self.traces.begin(f"{protocol} refused", protocol=protocol).end(problem)
        self.metrics.refused.labels(protocol, problem.kind.word).inc()
        fields = {"protocol": protocol, "key": key and key.name, "problem": str(problem)}
        logger.info("refused", extra={"fields": fields})

    async def drain(self) -> None:
        """Let nobody in, and wait until conversations and uploads have ended; in the end, end those that have not."""
        self.ready, self.draining = False, True
        if not await self._all_ended(self.settings.drain_seconds):
            logger.warning("closing", extra={"fields": {"streams": len(self.conversations), "uploads": self._uploads}})
            self.waits.end()
            self._abort([talk for talk in self.conversations if talk.recording])  # a part of one is no transcript
            await self._all_ended(LAST_WORDS, *(talk.end() for talk in self.conversations if not talk.recording))
            self._abort(self.conversations)
            await self._all_ended(LAST_WORDS)
        await asyncio.sleep(FAREWELL)

    def _abort(self, conversations: Iterable[Conversation]) -> None:
        for talk in conversations:
            talk.abort(stopping())

    async def _all_ended(self, seconds: float, *closing: Coroutine[Any, Any, None]) -> bool:
        """Wait until nothing is open, while some are closed, so long at most; whether that came about."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*closing, return_exceptions=True)
                while self._busy:
                    self._left.clear()
                    await self._left.wait()
        return not self._busy

    @property
    def _busy(self) -> bool:
        return bool(self.conversations or self._uploads)

    async def close(self) -> None:
        """End everything."""
        self.ready = False
        self._phrases.close()
        await self._decoders.close()
        await self.models.close(drain=False)
        await asyncio.to_thread(self.traces.close)

    async def _open(
        self, key: Key, protocol: str, form: AudioFormat, model: Model, prepare: Prepare, recording: bool,
        options: dict[str, Any],
    ) -> Conversation:  # fmt: skip
        settings = self.settings
        longest = settings.max_audio_seconds if recording else settings.max_session_seconds
        bounds = Bounds(longest, settings.idle_seconds, float("inf") if recording else longest)
        with ExitStack() as refused:
            self.keys.check_again(key)
            key.enter()
            refused.callback(key.leave)
            options = await prepare(options)
            if self.waits.over or (self.draining and not recording):  # recordings were let in by `uploading`
                raise stopping()
            session = model.engine.open(recording=recording, **options)
            refused.pop_all()
        name = secrets.token_hex(8)
        asked = {name: options.get(name) for name in ("language", "latency_ms")}
        kind = "recording" if recording else "stream"
        trace = self.traces.begin(f"{protocol} {kind}", protocol=protocol, model=model.name, stream=name, **asked)
        watch = Watch(
            self.metrics, trace, key, protocol, model.name, name, settings.log_transcripts,
            lambda: self._gone(conversation),
        )  # fmt: skip
        make_input = partial(AudioInput, form, self._decoders, self.settings.max_upload_bytes, recording=recording)
        language = options.get("language", AUTO)
        conversation = Conversation(name, session, make_input, prepare, bounds, watch, language, recording=recording)
        self.conversations.add(conversation)
        return conversation

    async def _prepared(self, options: Mapping[str, Any], *, model: Model, foreign: bool) -> dict[str, Any]:
        """Options as the engine takes them, which finds their phrases compiled."""
        check_names_and_types(options)
        await self._phrases.prepare(options.get("boost", ()), model.recognizer.tokenizer)
        return without_regions(options, model.recognizer.config) if foreign else dict(options)

    def _gone(self, conversation: Conversation) -> None:
        self.conversations.discard(conversation)
        self._left.set()
