import gc
import sys
from collections.abc import Iterator

import pytest

from nemotron_asr.engine import settle_process


@pytest.fixture
def restored() -> Iterator[None]:
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    gc.unfreeze()


@pytest.mark.usefixtures("restored")
def test_what_lives_is_no_longer_looked_at_and_threads_take_turns_sooner() -> None:
    alive = [object() for _ in range(3)]
    settle_process()
    assert gc.get_freeze_count() > 0
    assert not any(one is alive for one in gc.get_objects())
    assert sys.getswitchinterval() <= 0.001


@pytest.mark.usefixtures("restored")
def test_a_program_that_takes_turns_sooner_still_does() -> None:
    sys.setswitchinterval(0.0001)
    settle_process()
    assert sys.getswitchinterval() == pytest.approx(0.0001, rel=0.1)
