"""The only owner of threads, slots and time: streams, the rows they live in, and the step that advances them.

engine.py       Engine: opens sessions; capacity, shutdown
session.py      Session: one stream as its user sees it, from a thread or from coroutines
loop.py         the two threads: decide and hand out words; compute
scheduler.py    which streams step together next (pure policy)
admission.py    who may come in; cost.py: what a step costs, punctuality.py: whether steps are in time (pure arithmetic)
live.py         a stream inside the engine; stream.py: its clock; recent.py: its samples
pool.py         rows of model state
runner.py       how a step executes
process.py      what a process does for punctuality
"""

from nemotron_asr.engine.engine import Engine, Statistics
from nemotron_asr.engine.process import settle_process
from nemotron_asr.engine.session import Session

__all__ = ["Engine", "Session", "Statistics", "settle_process"]
