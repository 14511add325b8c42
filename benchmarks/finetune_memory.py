"""What fine-tuning the released model with adapters keeps in memory, by counting: no GPU is needed.

    python benchmarks/finetune_memory.py --rank 16 --seconds 20

Counted are weights, gradients, the optimiser's moments, the average, and whatever autograd saves on the way forward for
one clip (of one and of two encoder blocks: the difference is a block's). The loss has its own figure.
Not counted: what CUDA itself takes and what the allocator leaves unused.
"""

import argparse
from dataclasses import replace

import torch
from torch import Tensor, nn

from nemotron_asr.checkpoint import skeleton
from nemotron_asr.config import ModelConfig
from nemotron_asr.model import NemotronASR, encoder_frames
from nemotron_asr.training.adapters import add_adapters, narrow_frozen
from nemotron_asr.training.joint import GPU_LOGITS
from nemotron_asr.training.objective import Objective, ObjectiveConfig

LOSS = 6 * GPU_LOGITS + 50e6
"""A block of logits in float32 and in bfloat16, and the lists per cell; `loss.py` measures it on a CPU."""


def nbytes(module: nn.Module, *, trained: bool) -> int:
    """Of the parameters that are trained, or of the others."""
    return sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad == trained)


def adapted(model: NemotronASR, rank: int) -> NemotronASR:
    """As `finetune` prepares it."""
    if rank:
        add_adapters(model, rank)
        narrow_frozen(model)
    return model


def saved(layers: int, rank: int, mel_frames: int, tokens: int) -> int:
    """Bytes that autograd saves for one clip, in a model of so many blocks."""
    model = adapted(NemotronASR(replace(ModelConfig(), n_layers=layers)), rank)
    objective = Objective(model, None, ObjectiveConfig(bfloat16=True), None).train()
    own = {p.untyped_storage().data_ptr() for p in objective.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in own:
            kept[place] = tensor  # held, so that its place is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        mel = torch.randn(1, 8 * encoder_frames(mel_frames), model.config.n_mels)
        frames, _ = objective.encode(mel, torch.tensor([mel_frames]), 13)
        model.transducer.project(model.prompt(frames, torch.tensor([3])))
        model.transducer.predict(torch.zeros(1, tokens + 1, dtype=torch.long), model.transducer.initial_state(1))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def main() -> None:
    """Reads the command line and counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rank", type=int, default=16, help="of the adapters; 0: all weights are trained")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--tokens", type=int, default=280)
    options = parser.parse_args()
    config = ModelConfig()
    whole = adapted(skeleton(config), options.rank)
    frozen, trained = nbytes(whole, trained=False), nbytes(whole, trained=True)
    one, two = (saved(n, options.rank, round(100 * options.seconds), options.tokens) for n in (1, 2))
    block, between = two - one, 4 * encoder_frames(round(100 * options.seconds)) * config.d_model
    rows = {
        "frozen weights": frozen,
        "trained weights, gradients, two moments, average": 5 * trained,
        "loss": LOSS,
        "activations": one + (config.n_layers - 1) * block,
        "activations, with --recompute": one + (config.n_layers - 1) * between,
    }
    for name, size in rows.items():
        print(f"| {name} | {size / 1e9:.2f} GB |")
    base = frozen + 5 * trained + LOSS
    print(f"| together | {(base + rows['activations']) / 1e9:.2f} GB |")
    print(f"| together, with --recompute | {(base + rows['activations, with --recompute']) / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
