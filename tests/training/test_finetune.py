"""Fine-tuning, from a checkpoint on disk to a folder that `load` takes."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch

from nemotron_asr import load
from nemotron_asr.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nemotron_asr.config import LATENCIES
from nemotron_asr.errors import ManifestError, OptionError
from nemotron_asr.model import NemotronASR
from nemotron_asr.tokenizer import Tokenizer
from nemotron_asr.training.data import Batches, Source
from nemotron_asr.training.finetune import finetune, prepare, training_config
from nemotron_asr.training.options import FinetuneConfig
from nemotron_asr.training.trainer import BEST, LAST, Trainer, read_checkpoint
from nemotron_asr.training.validation import Hypothesis, score
from tests.training.conftest import Line, write_manifest


@pytest.fixture
def options(base: Checkpoint, tmp_path: Path, manifest: Path) -> FinetuneConfig:
    """A run of a few seconds."""
    assert base
    source = (Source(manifest),)
    return FinetuneConfig(
        source, source, tmp_path / "run", str(tmp_path / "base"), steps=8, batch_seconds=5, warmup=2, validate_every=3
    )


def test_defaults_learn_both_modes_at_every_latency(tmp_path: Path, lines: list[Line]) -> None:
    """The embedded model learns two recordings, with and without their language, whatever the latency."""
    source = (Source(write_manifest(tmp_path / "two.jsonl", lines[:2])),)
    config = FinetuneConfig(
        source, source, tmp_path / "run", latency_ms=80, steps=40, batch_seconds=7, warmup=5, lr=1e-3, augment=False
    )
    outcome = finetune(config)
    assert {mode: score.wer for mode, score in outcome.after.items()} == {"auto": 0.0, "language": 0.0}
    assert all(score.wer > 0 for score in outcome.before.values())
    recognizer = load(outcome.folder)
    for latency in LATENCIES:
        for line in lines[:2]:
            for language in ("auto", line["target_lang"]):
                heard = recognizer.transcribe(line["audio_filepath"], language=language, latency_ms=latency)
                pair = Hypothesis(line["target_lang"], line["text"], heard.text, heard.language or "")
                assert score([pair]).wer <= 0.1, f"{latency} ms, {language}: {heard.text!r}"
                assert heard.language == line["target_lang"]


def test_defaults_train_every_latency_and_both_modes(options: FinetuneConfig, base: Checkpoint) -> None:
    """A model that knows them all forgets none within some steps at one: what is learnt does not show it."""
    data = training_config(options, base).data
    assert sorted(data.lookaheads) == sorted(LATENCIES.values()) == [0, 1, 3, 6, 13]
    assert data.auto_share == 0.5
    batches = Batches(data, base.tokenizer, base.config)
    drawn = [batches[step] for step in range(30)]
    assert {batch.lookahead for batch in drawn} == set(LATENCIES.values())
    own = [int((batch.prompts != base.config.default_prompt).sum()) for batch in drawn]
    assert 0 < sum(own) < sum(len(batch.prompts) for batch in drawn)


@pytest.mark.parametrize("steps", [1, 20, 1000])
def test_a_short_run_reaches_its_rate_too(options: FinetuneConfig, base: Checkpoint, steps: int) -> None:
    config = training_config(replace(options, steps=steps, warmup=100, lr=1e-3), base)
    assert max(map(config.lr, range(steps))) == pytest.approx(1e-3)


@pytest.mark.parametrize(("latency", "lookahead"), LATENCIES.items())
def test_validation_has_the_latency_that_is_asked_for(
    options: FinetuneConfig, base: Checkpoint, latency: int, lookahead: int
) -> None:
    assert training_config(replace(options, latency_ms=latency), base).validation_lookahead == lookahead


@pytest.mark.parametrize(("kind", "name"), [("huggingface", "theirs"), ("nemo", "theirs.nemo")])
def test_any_layout_can_be_fine_tuned(
    options: FinetuneConfig, base: Checkpoint, tmp_path: Path, kind: str, name: str
) -> None:
    config = replace(base.config, d_prompt=2 * base.config.d_model)  # as NeMo's are
    theirs = Checkpoint(config, base.tokenizer, dict(NemotronASR(config).state_dict()))
    save_checkpoint(theirs, tmp_path / name, kind)
    adapted = finetune(replace(options, model=str(tmp_path / name), steps=1, lora_rank=2))
    weights = load_checkpoint(adapted.folder).weights
    assert weights.keys() == theirs.weights.keys()
    settings = json.loads((adapted.folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == str(tmp_path / name)


class KilledError(Exception):
    """The process is gone."""


@pytest.mark.parametrize(
    "changes",
    [{}, {"lora_rank": 2, "bfloat16": True, "accumulate": 2}, {"recompute": True, "freeze_encoder": True}],
    ids=["all weights", "adapters", "frozen encoder"],
)
def test_a_killed_run_goes_on_to_the_same_result(
    options: FinetuneConfig, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    options = replace(options, **changes)
    straight = replace(options, output=options.output / "straight")
    outcome = finetune(straight)
    with monkeypatch.context() as patch:
        step = Trainer.train_step

        def dies(self: Trainer, *batches: Any) -> dict[str, float]:
            if self.step == 5:
                raise KilledError
            return step(self, *batches)

        patch.setattr(Trainer, "train_step", dies)
        with pytest.raises(KilledError):
            finetune(options)
    resumed = finetune(options)
    assert resumed.before == outcome.before
    assert resumed.after == outcome.after
    ours, theirs = (read_checkpoint(run.output / LAST) for run in (options, straight))
    assert ours["step"] == theirs["step"] == 8
    for part in ("objective", "average"):
        assert [name for name in theirs[part] if not torch.equal(ours[part][name], theirs[part][name])] == []
    ours, theirs = (load_checkpoint(run.output / "best").weights for run in (options, straight))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def test_a_frozen_encoder_stays_and_the_rest_learns(options: FinetuneConfig, base: Checkpoint) -> None:
    finetune(replace(options, freeze_encoder=True))
    trained = read_checkpoint(options.output / LAST)["objective"]
    assert not [name for name in trained if name.startswith("model.encoder.")]
    changed = [name for name, value in trained.items() if not torch.equal(value, base.weights[name[len("model.") :]])]
    assert len(changed) > 10


def test_another_run_is_not_overwritten(options: FinetuneConfig) -> None:
    finetune(replace(options, steps=1))
    with pytest.raises(OptionError, match="steps 1; repeat that"):
        finetune(options)
    finetune(replace(options, steps=1, workers=1))
    with pytest.raises(OptionError, match="which is frozen"):
        finetune(replace(options, lora_rank=2, freeze_encoder=True))


def test_a_run_does_not_go_on_with_another_model(options: FinetuneConfig, base: Checkpoint, tmp_path: Path) -> None:
    """One that lies where the other lay."""
    options = replace(options, steps=1, lora_rank=2)
    finetune(options)
    torch.manual_seed(1)
    save_checkpoint(replace(base, weights=dict(NemotronASR(base.config).state_dict())), tmp_path / "base")
    with pytest.raises(OptionError, match=r"run holds a run on other weights of \S+base; choose another folder"):
        finetune(options)


def test_a_run_does_not_go_on_with_other_texts(options: FinetuneConfig) -> None:
    options = replace(options, steps=1)
    finetune(options)
    manifest = options.train[0].manifest
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"text": "', '"text": "So '), encoding="utf-8")
    with pytest.raises(OptionError, match=rf"run holds a run on other clips of {manifest}; choose another folder"):
        finetune(options)


def test_a_run_keeps_its_number_of_processes(options: FinetuneConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    options.claim("weights")
    (options.output / LAST).touch()
    options.claim("weights")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="holds a run with processes 1; repeat that"):
        options.claim("weights")
    path = options.output / "options.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: told[name] for name in told if name not in {"processes", "weights", "clips"}}))
    options.claim("other weights")  # older versions did not say


def test_a_run_that_never_began_leaves_its_folder_free(
    options: FinetuneConfig, tmp_path: Path, lines: list[Line]
) -> None:
    with pytest.raises(ManifestError, match="cannot read manifest"):
        finetune(replace(options, train=(Source(tmp_path / "nope.jsonl"),)))
    finetune(replace(options, steps=1))
    other = write_manifest(tmp_path / "other.jsonl", lines)
    with pytest.raises(OptionError, match=r"holds a run with train \S+clips\.jsonl; repeat that"):
        finetune(replace(options, steps=1, train=(Source(other, weight=2.0),)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["lr", "ema", "batch_seconds"])
def test_numbers_that_are_none_are_refused(options: FinetuneConfig, name: str, value: float) -> None:
    changes: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=rf"{name} is {value}; it must be a finite number"):
        finetune(replace(options, **changes))
    with pytest.raises(OptionError, match=rf"clips\.jsonl: share is {value}"):
        finetune(replace(options, train=(replace(options.train[0], share=value),)))


def test_a_model_without_tags_is_not_asked_for_languages(
    options: FinetuneConfig, tmp_path: Path, lines: list[Line], base: Checkpoint
) -> None:
    untagged = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line["text"] for line in lines]), model_writer=untagged, model_type="bpe",
        vocab_size=120, bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    config = replace(base.config, vocab_size=120, n_prompts=0, d_prompt=0)
    tokenizer = Tokenizer.from_sentencepiece(untagged.getvalue())
    save_checkpoint(Checkpoint(config, tokenizer, dict(NemotronASR(config).state_dict())), tmp_path / "base")
    outcome = finetune(replace(options, steps=1))
    assert outcome.after["auto"].detected is None
    assert "language right" not in (outcome.folder / "README.md").read_text(encoding="utf-8")
    assert finetune(replace(options, steps=1)) == outcome  # read back from disk


def test_the_folder_has_scores_curves_and_a_card(options: FinetuneConfig, base: Checkpoint) -> None:
    outcome = finetune(options)
    card = (outcome.folder / "README.md").read_text(encoding="utf-8")
    assert f"# Fine-tuned from {options.model}" in card
    assert "| all |" in card
    assert "de-DE 0.00 h" in card
    scores = json.loads((options.output / "scores.json").read_text(encoding="utf-8"))
    assert list(scores) == ["0", "best", "3", "6", "8"]
    assert outcome.before["auto"].wer == scores["0"]["auto"]["wer"]
    assert [path.stat().st_size > 500 for path in (options.output / "logs").iterdir()] == [True]
    assert load_checkpoint(outcome.folder).about["fine_tuned_from"] == options.model
    assert read_checkpoint(options.output / BEST)["model"].keys() == base.weights.keys()


def test_a_new_locale_is_learnt_with_adapters(options: FinetuneConfig, tmp_path: Path, lines: list[Line]) -> None:
    welsh = (Source(write_manifest(tmp_path / "cy.jsonl", [{**line, "target_lang": "cy-GB"} for line in lines])),)
    changes: dict[str, Any] = {"new_locale": "cy-GB:en-US", "lora_rank": 2, "train": welsh, "validation": welsh}
    outcome = finetune(replace(options, **changes))
    best = load_checkpoint(outcome.folder)
    assert "cy-GB" in best.config.prompts
    assert "cy-GB" in best.tokenizer.language_tags.values()
    assert outcome.after["auto"].languages.keys() == {"cy-GB"}


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_new_script_is_learnt(options: FinetuneConfig, tmp_path: Path, lines: list[Line], lora_rank: int) -> None:
    said = [{**line, "text": f"{line['text']} Χαίρετε, κόσμε."} for line in lines[:2]]
    greek = (Source(write_manifest(tmp_path / "el.jsonl", said)),)
    changes: dict[str, Any] = {"new_pieces": 40, "lora_rank": lora_rank, "train": greek, "validation": greek}
    best = load_checkpoint(finetune(replace(options, **changes)).folder)
    assert best.tokenizer.decode(best.tokenizer.encode("Χαίρετε")) == "Χαίρετε"
    trained = read_checkpoint(options.output / LAST)["objective"]["model.transducer.embed.weight"]
    assert len(trained) == best.config.vocab_size + 1
    assert len(trained[load_checkpoint(options.model).config.vocab_size : -1].unique(dim=0)) > 1  # they began alike


def gradients(options: FinetuneConfig, base: Checkpoint, batches: int) -> list[torch.Tensor]:
    """Of one step, not yet clipped by much, on the first batches."""
    torch.manual_seed(0)
    config = replace(training_config(options, base), clip=1e9)
    trainer = Trainer(config, prepare(base, options), base.tokenizer)
    trainer.optimizer.zero_grad = lambda *_: None  # type: ignore[method-assign] # the gradient is what is looked at
    trainer.train_step(*(trainer.batches[i] for i in range(batches)))
    return [parameter.grad for parameter in trainer.objective.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("bfloat16", [False, True])
def test_recomputed_activations_give_the_same_gradient(
    options: FinetuneConfig, base: Checkpoint, bfloat16: bool
) -> None:
    options = replace(options, bfloat16=bfloat16)
    kept, recomputed = (gradients(replace(options, recompute=recompute), base, 1) for recompute in (False, True))
    torch.testing.assert_close(recomputed, kept, rtol=1e-5, atol=1e-6)


def test_accumulated_gradients_are_the_mean_of_the_batches(options: FinetuneConfig, base: Checkpoint) -> None:
    base = replace(base, config=replace(base.config, dropout=0.0))
    options = replace(options, augment=False, accumulate=2)
    both = gradients(options, base, 2)
    torch.manual_seed(0)
    trainer = Trainer(training_config(options, base), prepare(base, options), base.tokenizer)
    for i in range(2):
        (trainer.objective(trainer.batches[i]).rnnt / 2).backward()
    single = [parameter.grad for parameter in trainer.objective.parameters() if parameter.grad is not None]
    torch.testing.assert_close(both, single)
