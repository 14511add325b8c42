"""What training loses by computing only the likely cells of the transducer's lattice: on a trained model, nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint import load_checkpoint
from nemotron_asr.languages import PROMPTS
from nemotron_asr.model import NemotronASR
from nemotron_asr.training.data import Batch, Bucket, DataConfig, Item, Source, collate, load_source
from nemotron_asr.training.objective import Objective, ObjectiveConfig
from nemotron_asr.training.spelling import SLOTS, Spelling
from tests.training.conftest import Line, write_manifest

ALL = ObjectiveConfig(prune_below=0.0)
PRUNED = ObjectiveConfig(prune_below=float("inf"))
TOO_NARROW = ObjectiveConfig(prune_below=float("inf"), prune_margin=1.0)


@pytest.fixture(scope="module")
def trained() -> Objective:
    """The embedded model; its head for letters was left in training."""
    checkpoint = load_checkpoint("tiny")
    model = NemotronASR(checkpoint.config)
    model.load_state_dict(checkpoint.weights)
    return Objective(model, Spelling(checkpoint.tokenizer), ObjectiveConfig(), augment=None).eval()


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory, lines: list[Line]) -> list[Item]:
    """The bundled recordings, with the embedded model's tokens."""
    folder, checkpoint = tmp_path_factory.mktemp("recordings"), load_checkpoint("tiny")
    source = Source(write_manifest(folder / "clips.jsonl", lines))
    return load_source(source, checkpoint.tokenizer, checkpoint.config, DataConfig((source,), folder))


def batch_of(items: list[Item], lookahead: int) -> Batch:
    """All recordings at once; the language is left to the model."""
    tokens = [item.example.tokens for item in items]
    shape = Bucket(80_000, max(map(len, tokens)), len(items), items)
    return collate([item.load() for item in items], tokens, [PROMPTS["auto"]] * len(items), shape, lookahead)


def teach_letters(objective: Objective, batch: Batch, enough: float) -> None:
    """Train the head alone until its loss per token is low enough: it hears what the encoder has long learnt.

    It starts with zeros, for five sentences are too few to forget a random start.
    """
    head = objective.ctc
    assert head
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(head.parameters(), 1e-3)
    with torch.no_grad():
        frames, lengths = objective.encode(*objective.mel(batch, None), batch.lookahead)
    loss = torch.tensor(torch.inf)
    while loss > enough:
        log_probs = head(frames).unflatten(-1, (SLOTS, -1)).log_softmax(-1)
        loss = objective._ctc(log_probs, lengths, batch) / batch.token_lengths.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@dataclass(frozen=True)
class Outcome:
    """The transducer's loss per token, and its gradient over all parameters of the model in one row."""

    loss: float
    gradient: Tensor


def outcome(objective: Objective, batch: Batch, options: ObjectiveConfig) -> Outcome:
    objective.options = options
    loss = objective(batch).rnnt
    gradients = torch.autograd.grad(loss, list(objective.model.parameters()), materialize_grads=True)
    return Outcome(loss.item(), torch.cat([gradient.flatten() for gradient in gradients]).double())


def cosine(a: Outcome, b: Outcome) -> float:
    return torch.cosine_similarity(a.gradient, b.gradient, dim=0).item()


@pytest.mark.parametrize("enough", [3.4, 1.0], ids=["just good enough to prune by", "later"])
@pytest.mark.parametrize("lookahead", [0, 13])
def test_loss_and_gradient_are_those_of_all_cells(
    trained: Objective, items: list[Item], lookahead: int, enough: float
) -> None:
    teach_letters(trained, batch_of(items, 13), enough)
    batch = batch_of(items, lookahead)
    whole, pruned, narrow = (outcome(trained, batch, options) for options in (ALL, PRUNED, TOO_NARROW))
    assert pruned.loss == pytest.approx(whole.loss, rel=1e-4)
    assert cosine(pruned, whole) > 0.9999
    assert narrow.loss > 1.1 * whole.loss
    assert cosine(narrow, whole) < 0.95


@pytest.mark.parametrize("silent", [[1], range(5)], ids=["one", "all"])
def test_clips_without_words_are_learnt_from(trained: Objective, items: list[Item], silent: Iterable[int]) -> None:
    """Both losses know what to do where nothing is to be said, even in all of a batch."""
    batch = batch_of(items, 3)
    for row in silent:
        batch.token_lengths[row], batch.tokens[row] = 0, 0
    trained.options = ObjectiveConfig()
    losses = trained(batch)
    gradients = torch.autograd.grad(losses.rnnt + losses.ctc, list(trained.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    whole, pruned = (outcome(trained, batch, options) for options in (ALL, PRUNED))
    assert whole.loss > 0
    assert pruned.loss >= whole.loss * (1 - 1e-6)
    assert whole.gradient.norm() > 0
