"""What the predictor makes of texts that are known, all their tokens at once."""

import torch
from torch import Tensor

from nemotron_asr.model.transducer import Transducer


def replay(transducer: Transducer, tokens: Tensor) -> Tensor:
    """The projected prediction behind every token (B, U, d_joint), as decoding token by token has them.

    Behind a final token the predictor starts anew, so every utterance of a text is shown to it from its own beginning.
    Time goes with the utterances of the longest row, for all of them have the shape of the whole: new shapes are slow.

    Args:
        transducer: its predictor and its final tokens.
        tokens: (B, U) of whole texts, blank first.
    """
    batch, length = tokens.shape
    utterance, place = transducer.ends(tokens).cumsum(1), torch.arange(length, device=tokens.device)
    said, _ = transducer.predict(tokens, transducer.initial_state(batch))
    for number in range(1, 1 + int(utterance.max())):
        begin = (utterance < number).sum(1, keepdim=True)
        own = tokens.gather(1, (begin + place).clamp(max=length - 1))
        own[:, 0] = transducer.config.blank
        behind, _ = transducer.predict(own, transducer.initial_state(batch))
        behind = behind.gather(1, (place - begin).clamp(min=0)[..., None].expand_as(behind))
        said = torch.where((utterance == number)[..., None], behind, said)
    return said
