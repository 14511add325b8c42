import io
import os
import pickle
import re
import signal
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nemotron_asr
from nemotron_asr.audio import AudioSource
from nemotron_asr.checkpoint import load_checkpoint, save_checkpoint, to_float
from nemotron_asr.config import LATENCIES
from nemotron_asr.engine import event_queue
from nemotron_asr.engine.building import make_runner
from nemotron_asr.engine.devices import choose_device, choose_dtype
from nemotron_asr.errors import (
    AudioError,
    CheckpointError,
    EngineClosedError,
    LanguageError,
    OptionError,
    StreamClosedError,
)
from nemotron_asr.events import Event, Final, Partial, Segment, SpeechEnded
from nemotron_asr.features import LogMel
from nemotron_asr.recognizer import Recognizer
from nemotron_asr.transcript import Transcript
from tests.conftest import PIECES, Sample, checkpoint_of, random_model, tiny_config
from tests.near import leaves, near


@pytest.fixture(scope="module")
def recognizer(random_model_folder: Path) -> Recognizer:
    return nemotron_asr.load(random_model_folder)


def finals(events: list[Event]) -> list[object]:
    return said([event.segment for event in events if isinstance(event, Final)])


def said(segments: Iterable[Segment]) -> list[object]:
    """Words and times. Confidence differs in its last digit: sums are rounded differently in steps of other sizes."""
    return [(word.word, word.start, word.end) for segment in segments for word in segment.words]


def test_every_kind_of_source_gives_the_same(recognizer: Recognizer, samples: list[Sample]) -> None:
    sample = samples[0]
    from_path = recognizer.transcribe(sample.path)
    data = Path(sample.path).read_bytes()
    as_int16 = np.clip(np.rint(sample.audio * 32768), -32768, 32767).astype(np.int16)
    assert from_path.text
    assert from_path.file == sample.path
    assert leaves(recognizer.transcribe(data).segments) == near(from_path.segments)
    assert leaves(recognizer.transcribe(io.BytesIO(data)).segments) == near(from_path.segments)
    assert leaves(recognizer.transcribe(Path(sample.path)).segments) == near(from_path.segments)
    assert leaves(recognizer.transcribe((sample.audio, 16000)).segments) == near(from_path.segments)
    assert recognizer.transcribe((as_int16, 16000)).duration == from_path.duration


def test_times_lie_inside_the_audio(recognizer: Recognizer, samples: list[Sample]) -> None:
    for sample in samples:
        transcript = recognizer.transcribe(sample.path)
        times = [time for word in transcript.words for time in (word.start, word.end)]
        assert all(0 <= time <= transcript.duration for time in times)
        starts = [word.start for word in transcript.words]
        assert starts == sorted(starts)
        assert all(0 < word.confidence <= 1 for word in transcript.words)


@pytest.mark.parametrize("latency", LATENCIES)
def test_a_stream_says_what_the_file_says(recognizer: Recognizer, samples: list[Sample], latency: int) -> None:
    for sample in samples[:2]:
        offline = recognizer.transcribe((sample.audio, 16000), language="de", latency_ms=latency)
        with recognizer.stream(language="de", latency_ms=latency) as stream:
            events = [event for packet in np.array_split(sample.audio, 61) for event in stream.feed(packet)]
            events += stream.finish()
        assert finals(events) == said(offline.segments)


def test_a_stream_can_be_finalized_and_changed(recognizer: Recognizer, samples: list[Sample]) -> None:
    expected = recognizer.transcribe((samples[0].audio, 16000), language="de", latency_ms=160)
    with recognizer.stream(latency_ms=320, endpointing_ms=None) as stream:
        stream.set_language("de")
        stream.set_latency(160)
        stream.set_boost([])
        events = stream.feed(samples[0].audio)
        ended = stream.finalize()
        assert isinstance(ended[-1], SpeechEnded)
        assert finals([*events, *ended]) == said(expected.segments)
        assert not finals(stream.finish())
    for call in (stream.finalize, partial(stream.set_latency, 80), stream.set_language, partial(stream.set_boost, [])):
        with pytest.raises(StreamClosedError):
            call()


@given(sizes=st.lists(st.integers(1, 30000), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packet_sizes_do_not_matter(recognizer: Recognizer, samples: list[Sample], sizes: list[int]) -> None:
    audio, position = samples[1].audio, 0
    events: list[Event] = []
    stream = recognizer.stream(latency_ms=80)
    while position < len(audio):
        size = sizes[len(events) % len(sizes)]
        events += stream.feed(audio[position : position + size])
        position += size
    events += stream.finish()
    offline = recognizer.transcribe((audio, 16000), latency_ms=80)
    assert finals(events) == said(offline.segments)


def test_partials_come_before_the_end(recognizer: Recognizer, samples: list[Sample]) -> None:
    with recognizer.stream(latency_ms=160) as stream:
        events = [event for packet in np.array_split(samples[0].audio, 30) for event in stream.feed(packet)]
    assert any(isinstance(event, Partial) for event in events)


def test_many_come_in_order_and_errors_as_values(recognizer: Recognizer, samples: list[Sample], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp3"
    broken.write_text("this is no music")
    paths = [samples[0].path, str(broken), *(sample.path for sample in samples[1:]), str(tmp_path / "missing.wav")]
    results = list(recognizer.transcribe_many(paths * 3, batch=4))
    assert len(results) == len(paths) * 3
    for path, result in zip(paths * 3, results, strict=True):
        if path.endswith(("broken.mp3", "missing.wav")):
            assert isinstance(result, AudioError)
            assert Path(path).name in str(result)
        else:
            assert isinstance(result, Transcript)
            assert said(result.segments) == said(recognizer.transcribe(path).segments)


def test_what_is_no_audio_is_an_error_among_the_others(recognizer: Recognizer, samples: list[Sample]) -> None:
    """A tuple with too much or too little in it, rows of different lengths, an object that can only be read."""

    class Pipe:
        def read(self, _: int = -1) -> bytes:
            return b""

    one = samples[0].audio
    sources: list[Any] = [(one,), (one, 16_000, 1), ([[0.0, 1.0], [0.0]], 16_000), Pipe(), samples[0].path]
    *wrong, right = recognizer.transcribe_many(sources)
    assert all(isinstance(result, AudioError) for result in wrong)
    assert isinstance(right, Transcript)


def test_sources_are_read_as_they_are_needed(recognizer: Recognizer, samples: list[Sample]) -> None:
    asked = 0

    def endless() -> Iterator[str]:
        nonlocal asked
        while True:
            asked += 1
            yield samples[asked % 5].path

    results = recognizer.transcribe_many(endless(), batch=2)
    for _ in range(3):
        next(results)
    assert asked < 20


def test_other_rates_are_resampled(recognizer: Recognizer, samples: list[Sample]) -> None:
    from nemotron_asr.audio import Resampler

    slow = np.repeat(samples[0].audio, 3)
    stream = recognizer.stream(sample_rate=48000, latency_ms=1120)
    events = [event for packet in np.array_split(slow, 50) for event in stream.feed(packet)] + stream.finish()
    resampler = Resampler(48000)
    expected = np.concatenate([resampler.feed(slow), resampler.finish()])
    assert finals(events) == said(recognizer.transcribe((expected, 16000)).segments)


def test_silence_and_short_audio_give_an_empty_transcript(recognizer: Recognizer) -> None:
    for length in (1, 100, 16000):
        transcript = recognizer.transcribe((np.zeros(length, np.float32), 16000))
        assert isinstance(transcript.text, str)
        assert transcript.duration == pytest.approx(length / 16000, abs=1e-3)


@pytest.mark.parametrize(
    ("samples_", "message"),
    [
        (np.array([0.1, np.nan], np.float32), "nan|NaN|finite"),
        (np.array([np.inf], np.float32), "inf|finite"),
        (np.zeros(0, np.float32), "no audio|empty|no samples"),
    ],
)
def test_bad_samples_are_named(recognizer: Recognizer, samples_: np.ndarray, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        recognizer.transcribe((samples_, 16000))


def test_options_are_checked_before_anything_is_read(recognizer: Recognizer) -> None:
    with pytest.raises(OptionError, match="100 ms is not offered; choose 80, 160, 320, 560, 1120"):
        recognizer.transcribe("nowhere.wav", latency_ms=100)
    with pytest.raises(LanguageError, match=r"de-DX.*de-DE"):
        recognizer.transcribe_many(["nowhere.wav"], language="de-DX")
    with pytest.raises(OptionError, match="at least 1"):
        recognizer.transcribe_many(["nowhere.wav"], batch=0)


@pytest.mark.parametrize("packet", [b"\x00\x00", [[0.0, 1.0], [0.0]], np.array([np.nan])])
def test_what_is_no_packet_ends_the_stream(recognizer: Recognizer, packet: Any) -> None:
    with recognizer.stream() as stream:
        for each in (packet, np.zeros(100, np.float32)):
            with pytest.raises(AudioError, match="sample"):
                stream.feed(each)


def test_an_ended_stream_takes_no_more(recognizer: Recognizer) -> None:
    with recognizer.stream() as stream:
        stream.finish()
    with pytest.raises(StreamClosedError):
        stream.feed(np.zeros(100, np.float32))
    with pytest.raises(StreamClosedError):
        stream.finish()


def test_loading_names_what_is_wrong(random_model_folder: Path) -> None:
    with pytest.raises(OptionError, match="'tpu' is unknown; choose auto, cpu"):
        nemotron_asr.load(random_model_folder, device="tpu")
    with pytest.raises(OptionError, match="'int4' is not offered; choose auto, float32, bfloat16, int8"):
        nemotron_asr.load(random_model_folder, dtype="int4")
    with pytest.raises(
        OptionError, match="'float8' is for NVIDIA's GPUs, not for cpu; choose auto, float32, bfloat16 or int8"
    ):
        nemotron_asr.load(random_model_folder, device="cpu", dtype="float8")
    with pytest.raises(CheckpointError, match="no-such-model"):
        nemotron_asr.load("no-such-model")


def test_bfloat16_keeps_the_prompt_in_float32(random_model_folder: Path, samples: list[Sample]) -> None:
    half = nemotron_asr.load(random_model_folder, dtype="bfloat16")
    assert half.runner.model.prompt.frame.weight.dtype == torch.float32
    assert half.runner.model.encoder.subsampling.out.weight.dtype == torch.bfloat16
    assert half.transcribe(samples[0].path).text


def test_int8_says_nearly_the_same_and_depends_on_no_neighbour(
    random_model_folder: Path, samples: list[Sample], tmp_path: Path
) -> None:
    """Quantised now or stored so before: the same words; beside others or alone: the same to the last bit."""
    quantized = nemotron_asr.load(random_model_folder, dtype="int8")
    save_checkpoint(load_checkpoint(random_model_folder), tmp_path / "int8", dtype=torch.int8)
    stored = nemotron_asr.load(tmp_path / "int8", dtype="int8")
    restored = nemotron_asr.load(tmp_path / "int8", dtype="float32")
    exact = nemotron_asr.load(random_model_folder, dtype="float32")
    matching, total = 0, 0
    together = list(quantized.transcribe_many([sample.path for sample in samples]))
    for sample, beside in zip(samples, together, strict=True):
        alone = quantized.transcribe(sample.path)
        assert isinstance(beside, Transcript)
        assert [word.word for word in alone.words] == [word.word for word in beside.words]
        assert leaves(stored.transcribe(sample.path).segments) == near(alone.segments)
        for other in (alone, restored.transcribe(sample.path)):
            matcher = SequenceMatcher(None, exact.transcribe(sample.path).text.split(), other.text.split())
            matching += sum(block.size for block in matcher.get_matching_blocks())
            total += len(other.text.split())
    assert matching / total > 0.4  # a random model is unsure of every word


def test_int8_weights_are_a_quarter(random_model_folder: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(random_model_folder)
    save_checkpoint(checkpoint, tmp_path / "int8", dtype=torch.int8)
    small = load_checkpoint(tmp_path / "int8").weights
    name = "encoder.blocks.0.ff1.up"
    assert small[f"{name}.weight"].dtype == torch.int8
    error = to_float(small)[f"{name}.weight"] - checkpoint.weights[f"{name}.weight"]
    assert error.abs().max() <= small[f"{name}.scale"].max() / 2 * 1.001
    with pytest.raises(OptionError, match="int8 is for the layout 'native'"):
        save_checkpoint(checkpoint, tmp_path / "theirs", "nemo", dtype=torch.int8)
    save_checkpoint(load_checkpoint(tmp_path / "int8"), tmp_path / "float.nemo", "nemo")
    assert load_checkpoint(tmp_path / "float.nemo").weights[f"{name}.weight"].dtype == torch.float32


def test_weights_of_the_right_kind_stay_mapped(random_model_folder: Path) -> None:
    checkpoint = load_checkpoint(random_model_folder)
    recognizer = Recognizer(checkpoint, torch.device("cpu"), torch.float32)
    ours, mapped = recognizer.runner.model.transducer.head.weight, checkpoint.weights["transducer.head.weight"]
    assert ours.data_ptr() == mapped.data_ptr()


def test_a_long_stream_costs_constant_memory(recognizer: Recognizer, samples: list[Sample]) -> None:
    import tracemalloc

    every = np.concatenate([sample.audio for sample in samples])
    stream = recognizer.stream(latency_ms=1120)
    stream.feed(every)
    tracemalloc.start()
    sizes = []
    for _ in range(6):
        stream.feed(every)
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[-1] < sizes[0] + 500_000


def test_a_short_recording_does_not_wait_for_a_long_one(recognizer: Recognizer, samples: list[Sample]) -> None:
    long = np.concatenate([sample.audio for sample in samples] * 4)
    sources: list[AudioSource] = [(long, 16000), samples[0].path, samples[1].path]
    numbers = [number for number, _ in recognizer.transcribe_as_finished(sources, batch=2)]
    assert numbers[-1] == 0
    assert sorted(numbers) == [0, 1, 2]


def test_a_model_without_prompt_hears_english_only(samples: list[Sample]) -> None:
    model = random_model(tiny_config(vocab_size=len(PIECES), n_prompts=0, default_prompt=0))
    english = Recognizer(checkpoint_of(model), torch.device("cpu"), torch.float32)
    assert english.transcribe(samples[1].path, language="en").language in {"en-US", None}
    with pytest.raises(LanguageError, match="'de-DE' is not this model's; it takes auto or English"):
        english.transcribe(samples[0].path, language="de-DE")


@pytest.mark.parametrize(
    "option",
    [
        {"beam": 2.0}, {"beam": "4"}, {"beam": True}, {"endpointing_ms": "500"}, {"endpointing_ms": float("nan")},
        {"language": None}, {"boost": None}, {"boost": {"x": "a"}}, {"latency_ms": [320]}, {"vad": 1}, {"lm": 7},
        {"languages": "de"}, {"lm_weight": "0.2"},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_another_type_are_named(recognizer: Recognizer, samples: list[Sample], option: Any) -> None:
    """And the engine goes on."""
    (name,) = option
    with pytest.raises(OptionError, match=f"^{name} is .*, not "):
        recognizer.transcribe(samples[0].path, **option)
    assert recognizer.transcribe(samples[0].path).duration > 0


def test_a_packet_may_be_as_long_as_an_hour(
    recognizer: Recognizer, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More events than a stream keeps for those who do not read."""
    monkeypatch.setattr(event_queue, "UNREAD", 60)
    speech = np.tile(samples[0].audio, 40)
    said = []
    for packets in ([speech], np.split(speech, 4)):
        with recognizer.stream(latency_ms=1120, endpointing_ms=80) as stream:
            heard = [event for packet in packets for event in stream.feed(packet)] + stream.finish()
        said.append([event.segment.text for event in heard if isinstance(event, Final)])
    assert len(said[0]) > 1
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["cuda:128", "cuda:99999999999999"])
def test_a_device_that_is_beyond_all_is_not_there(name: str) -> None:
    """torch wraps such numbers around."""
    with pytest.raises(OptionError, match=f"device '{name}' is not there"):
        choose_device(name)


@pytest.mark.parametrize(
    "option",
    [
        {"lm_weight": float("nan")}, {"lm_weight": 5}, {"lm_weight": -(10**400)},
        {"longest_segment_ms": 10**400}, {"endpointing_ms": 10**400}, {"endpointing_ms": -(10**400)},
    ],
    ids=lambda option: str(option)[:30],
)  # fmt: skip
def test_numbers_beyond_all_are_named(recognizer: Recognizer, option: Any) -> None:
    (name,) = option
    with pytest.raises(OptionError, match=rf"^{name} \S+ is (out of range|too long|too short); ") as error:
        recognizer.transcribe("nowhere.wav", **option)
    assert error.value.option == name
    assert len(str(error.value)) < 120


@pytest.mark.parametrize("sources", ["talk.mp3", b"RIFF", Path("talk.mp3"), None, 5])
def test_many_recordings_are_a_list(recognizer: Recognizer, sources: Any) -> None:
    with pytest.raises(OptionError, match="; give a list of recordings"):
        recognizer.transcribe_many(sources)


@pytest.mark.parametrize("batch", ["2", 1.5, None, True])
def test_how_many_at_once_is_a_whole_number(recognizer: Recognizer, batch: Any) -> None:
    with pytest.raises(OptionError, match=r"^batch is .*, not a whole number$"):
        recognizer.transcribe_many([], batch=batch)


@pytest.mark.parametrize("wrong", [{"model": None}, {"device": None}, {"device": 0}, {"dtype": None}, {"dtype": ["x"]}])
def test_loading_names_what_is_of_another_type(wrong: Any) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(OptionError, match=f"^{name} (is )?{re.escape(repr(value))}"):
        nemotron_asr.load(**wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only Unix forks")
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("use", ["transcribe", "iterate"])
def test_a_forked_process_is_told_that_the_engine_is_not_its_own(recognizer: Recognizer, use: str) -> None:
    silence = np.zeros(1600, np.float32), 16_000
    recognizer.transcribe(silence)
    session = recognizer.engine.open()
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            recognizer.transcribe(silence) if use == "transcribe" else next(iter(session))
        except EngineClosedError as error:
            os._exit(0 if "load the model after forking" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    session.abort()


@pytest.mark.parametrize(
    ("name", "device", "offered"),
    [("int8", "cuda", "float32, bfloat16 or float8"), ("int8", "mps", "float32 or bfloat16")],
)
def test_only_what_a_device_has_is_offered(name: str, device: str, offered: str) -> None:
    with pytest.raises(OptionError, match=f"not for {device}; choose auto, {offered}$"):
        choose_dtype(name, torch.device(device), tiny_config())


def test_a_recognizer_says_what_it_is(recognizer: Recognizer) -> None:
    config = recognizer.config
    assert repr(recognizer) == f"<Recognizer: {config.n_layers} layers of {config.d_model}, cpu, float32>"


def test_a_recognizer_is_not_pickled(recognizer: Recognizer) -> None:
    with pytest.raises(TypeError, match="a Recognizer cannot be pickled; load the model in each process"):
        pickle.dumps(recognizer)


def test_eight_bit_floats_are_never_left_out_silently() -> None:
    model = random_model(tiny_config())
    with pytest.raises(ValueError, match="8-bit floats are for NVIDIA's GPUs, not for cpu"):
        make_runner(model, LogMel(model.config), float8=True)
