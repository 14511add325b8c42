"""The samples that a stream still needs."""

import numpy as np
import pytest

from nemotron_asr.engine.recent import Recent


def test_a_long_packet_is_not_copied_at_every_step() -> None:
    recent = Recent()
    recent.append(np.arange(100_000, dtype=np.float32))
    copies = 0
    for sample in range(0, 100_000, 1000):
        before = recent._blocks[0]
        recent.forget(sample)
        copies += not np.shares_memory(recent._blocks[0], before)
        assert recent.window(sample, 3).tolist() == [sample, sample + 1, sample + 2]
    assert copies < 10


@pytest.mark.parametrize("packet", [100, 7000])
def test_little_more_is_held_than_is_needed(packet: int) -> None:
    recent = Recent()
    for end in range(packet, 100_000, packet):
        recent.append(np.zeros(packet, np.float32))
        recent.forget(end - 1000)
        held = recent._blocks[0] if recent._blocks[0].base is None else recent._blocks[0].base
        assert held.size <= 2 * max(1000, len(recent)) + packet
