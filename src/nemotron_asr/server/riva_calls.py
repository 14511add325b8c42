"""Riva's calls: StreamingRecognize, Recognize, GetRivaSpeechRecognitionConfig."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
from grpc.aio import ServicerContext

from nemotron_asr.options import RECORDING_MS
from nemotron_asr.server.conversation import Conversation
from nemotron_asr.server.formats import AudioFormat
from nemotron_asr.server.keys import Key
from nemotron_asr.server.problems import Kind, Problem, invalid
from nemotron_asr.server.riva_messages import (
    SERVICE,
    ConfigRequest,
    ConfigResponse,
    Proto,
    RecognizeRequest,
    RecognizeResponse,
    StreamingRequest,
    StreamingResponse,
    parse,
)
from nemotron_asr.server.riva_shapes import FOREIGN_MODELS, RecognitionRequest, results, streaming_result, wish_of
from nemotron_asr.server.service import Service
from nemotron_asr.server.settings import Settings
from nemotron_asr.server.sides import side_by_side, tasks
from nemotron_asr.server.web import stored

PROTOCOL = "riva"

PIECE = 1 << 16
"""Bytes of a recording that are fed at once."""

STATUS = {
    Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Kind.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    Kind.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Kind.INTERNAL: grpc.StatusCode.INTERNAL,
    Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}

SLOWEST = 100_000
"""Bytes of a recording per second, beyond the time that it may stand still: it takes up room while it comes."""

Context = ServicerContext[bytes, bytes]


class Recognition:
    """The three methods. They take and give bytes, so that garbage is answered as what it is."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @asynccontextmanager
    async def answering(self, context: Context) -> AsyncIterator[None]:
        """A call, in its client's trace; a problem is its status."""
        with self._service.traces.joined(_metadata(context)):
            try:
                with self._service.refusing(PROTOCOL):
                    yield
            except Problem as problem:
                await context.abort(STATUS[problem.kind], str(problem))

    async def streaming(self, context: Context) -> None:
        """`StreamingRecognize`: the configuration, then audio."""
        key, messages = self._key(context), _Messages(context, self._service.settings)
        first = await messages.early()
        if first is None:
            return
        if first.WhichOneof("streaming_request") != "streaming_config":
            raise invalid("the first message has no streaming_config")
        wanted, idle = wish_of(first.streaming_config.config), self._service.settings.idle_seconds
        head = await messages.early() if wanted.looks else None
        async with AsyncExitStack() as stack:
            talks = [
                await stack.enter_async_context(await self._open(key, form, wanted, recording=False))
                for form in wanted.forms(head.audio_content if head is not None else b"")
            ]
            await side_by_side(_hear(talks, head, messages), _Teller(context, first, wanted, idle).tell_all(talks))

    async def recognize(self, context: Context) -> bytes:
        """`Recognize`: a recording, which is not taken in before there is room for it."""
        key = self._key(context)
        with self._service.uploading(key, PROTOCOL):
            request = parse(RecognizeRequest, await self._recording(context))
            wanted, response = wish_of(request.config), RecognizeResponse()
            if request.HasField("id"):
                response.id.CopyFrom(request.id)
            channels = await self._channels(wanted, request.audio)
            for number, form in enumerate(wanted.forms(request.audio, channels), 1):
                async with (
                    await self._open(key, form, wanted, recording=True) as conversation,
                    conversation.beside(_play(conversation, request.audio)),
                ):
                    said = await conversation.transcript()
                    response.results.extend(results(said.segments, said.duration, number, wanted))
        return bytes(response.SerializeToString())

    async def _channels(self, wanted: RecognitionRequest, audio: bytes) -> int:
        """How many a file has whose channels are heard one by one; 0 where that is the client's to say."""
        if not (wanted.apart and wanted.is_file(audio)):
            return 0
        async with stored(_whole(audio)) as path:
            return await self._service.channels(path)

    async def _recording(self, context: Context) -> bytes:
        """The call's one message; gRPC does not say how much of it has come."""
        settings = self._service.settings
        patience = settings.idle_seconds + settings.max_upload_bytes / SLOWEST
        try:
            async with self._service.waits.within(patience):
                data: object = await context.read()
        except TimeoutError:
            raise Problem(Kind.TIMEOUT, f"the recording came for {patience:.0f} s, which is the limit") from None
        return data if isinstance(data, bytes) else b""

    def config(self, data: bytes, context: Context) -> bytes:
        """`GetRivaSpeechRecognitionConfig`: what each model can be asked for."""
        self._key(context)
        name, models = parse(ConfigRequest, data).model_name, self._service.models
        response = ConfigResponse()
        for model in [models.find(name, FOREIGN_MODELS)] if name else models.by_name.values():
            for kind in ("online", "offline"):
                about = {"type": kind, "language_code": ",".join(model.languages), "sample_rate": "16000"}
                response.model_config.add(model_name=model.name, parameters=about)
        return bytes(response.SerializeToString())

    def _key(self, context: Context) -> Key:
        metadata = _metadata(context)
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        shown = token.strip() if scheme.lower() == "bearer" else metadata.get("x-api-key")
        return self._service.authenticate(shown, PROTOCOL)

    async def _open(self, key: Key, form: AudioFormat, wanted: RecognitionRequest, *, recording: bool) -> Conversation:
        options = {"latency_ms": RECORDING_MS, **wanted.options} if recording else wanted.options
        return await self._service.open(
            key, PROTOCOL, form, model=wanted.model, foreign=FOREIGN_MODELS, recording=recording, **options
        )


def _metadata(context: Context) -> dict[str, str]:
    return {name: str(value) for name, value in context.invocation_metadata() or ()}


class _Messages:
    """What the client sends, within limits."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context, self._most, self._idle = context, settings.max_message_bytes, settings.idle_seconds

    async def early(self) -> Proto | None:
        """The next message, or nothing at the end, before there is a conversation that ends when nothing comes."""
        try:
            async with asyncio.timeout(self._idle):
                return await self.next()
        except TimeoutError:
            raise Problem(Kind.TIMEOUT, f"nothing came for {self._idle} s, which is the limit") from None

    async def next(self) -> Proto | None:
        """The next message, or nothing at the end."""
        data: object = await self._context.read()
        if not isinstance(data, bytes):  # grpc.aio.EOF, which its types leave out
            return None
        if len(data) > self._most:
            raise Problem(Kind.TOO_LARGE, f"a message has {len(data)} bytes; {self._most} is the limit")
        return parse(StreamingRequest, data)


async def _hear(talks: Sequence[Conversation], head: Proto | None, messages: _Messages) -> None:
    if head is not None:
        await _hear_one(talks, head)
    while (message := await messages.next()) is not None:
        await _hear_one(talks, message)
    for talk in talks:
        await talk.close()


async def _hear_one(talks: Sequence[Conversation], message: Proto) -> None:
    if message.WhichOneof("streaming_request") == "streaming_config":
        raise invalid("a streaming_config came twice")
    for talk in talks:
        await talk.feed(message.audio_content)
        if message.runtime_config.get("force_eou", "").lower() == "true":
            await talk.finalize()


class _Teller:
    """Says what was heard, each event in an answer of its own."""

    def __init__(self, context: Context, first: Proto, wanted: RecognitionRequest, patience: float) -> None:
        self._context, self._wanted, self._patience = context, wanted, patience
        self._interim = first.streaming_config.interim_results
        self._answer = StreamingResponse(id=first.id) if first.HasField("id") else StreamingResponse()
        self._writing = asyncio.Lock()  # a call takes one message at a time, whatever its channels say

    async def tell_all(self, talks: Sequence[Conversation]) -> None:
        async with tasks() as group:
            for channel, talk in enumerate(talks, 1):
                group.create_task(self._tell(talk, channel))

    async def _tell(self, talk: Conversation, channel: int) -> None:
        async for event in talk:
            result = streaming_result(event, channel, self._wanted)
            if result is not None and (result.is_final or self._interim):
                answer = StreamingResponse(results=[result])
                answer.MergeFrom(self._answer)
                await self._write(answer)

    async def _write(self, answer: Proto) -> None:
        try:
            async with self._writing, asyncio.timeout(self._patience):
                await self._context.write(answer.SerializeToString())
        except TimeoutError:
            raise Problem(Kind.TIMEOUT, f"no answer was read for {self._patience} s, which is the limit") from None


async def _whole(audio: bytes) -> AsyncIterator[bytes]:
    yield audio


async def _play(conversation: Conversation, audio: bytes) -> None:
    for start in range(0, len(audio), PIECE):
        await conversation.feed(audio[start : start + PIECE])
    await conversation.close()


def handlers(recognition: Recognition) -> grpc.GenericRpcHandler:
    """Riva's service, where every problem ends its call with a status."""

    async def streaming(_requests: AsyncIterator[bytes], context: Context) -> None:
        async with recognition.answering(context):
            await recognition.streaming(context)

    async def recognize(_requests: AsyncIterator[bytes], context: Context) -> bytes:
        async with recognition.answering(context):
            return await recognition.recognize(context)

    async def config(request: bytes, context: Context) -> bytes:
        async with recognition.answering(context):
            return recognition.config(request, context)

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "StreamingRecognize": grpc.stream_stream_rpc_method_handler(streaming),
        "Recognize": grpc.stream_unary_rpc_method_handler(recognize),  # the same for clients; here the key comes first
        "GetRivaSpeechRecognitionConfig": grpc.unary_unary_rpc_method_handler(config),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)
