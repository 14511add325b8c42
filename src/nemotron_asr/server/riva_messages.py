"""Riva's messages, as classes.

`proto/riva.binpb` is what protoc makes of the `.proto` files beside it (`make proto`). It holds for every version of
protobuf, which generated Python does not, and lives in a pool of its own: NVIDIA's client, in the same process, has
messages of the same names.
"""

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from nemotron_asr.server.problems import invalid

Proto = Any  # protobuf builds the class at run time, out of a type checker's sight

SERVICE = "nvidia.riva.asr.RivaSpeechRecognition"


def add_files(pool: DescriptorPool) -> None:
    """Add Riva's files to a pool."""
    files = resources.files("nemotron_asr.server").joinpath("proto", "riva.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(files).file:
        pool.AddSerializedFile(file.SerializeToString())


def _class(name: str) -> Proto:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"nvidia.riva.asr.{name}"))


_POOL = DescriptorPool()
add_files(_POOL)

Alternative = _class("SpeechRecognitionAlternative")
ConfigRequest = _class("RivaSpeechRecognitionConfigRequest")
ConfigResponse = _class("RivaSpeechRecognitionConfigResponse")
RecognizeRequest = _class("RecognizeRequest")
RecognizeResponse = _class("RecognizeResponse")
Result = _class("SpeechRecognitionResult")
StreamingRequest = _class("StreamingRecognizeRequest")
StreamingResponse = _class("StreamingRecognizeResponse")
StreamingResult = _class("StreamingRecognitionResult")
WordInfo = _class("WordInfo")


def parse(kind: Proto, data: bytes) -> Proto:
    """Read a message.

    Raises:
        Problem: the bytes are none.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        raise invalid(f"a message is no {kind.DESCRIPTOR.name}") from None
