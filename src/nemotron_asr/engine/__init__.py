"""The only owner of threads, slots and time: streams, the rows they live in, and the step that advances them.

engine.py       Engine: opens sessions; capacity, shutdown
session.py      Session: one stream as its user sees it, from a thread or from coroutines; settings.py: checked options
event_queue.py  events on their way to that user; promise.py: a result that threads and coroutines can wait for
loop.py         the two threads: decide and hand out words; compute (worker.py); inbox.py: how others call them
scheduler.py    which streams step together next (pure policy); gathering.py: how long a step waits for more of them
admission.py    who may come in; cost.py: what a step costs, punctuality.py: whether steps are in time (pure arithmetic)
live.py         a stream inside the engine; stream.py: its clock; recent.py: its samples
pool.py         rows of model state; rows.py: which stream has which
building.py     from a checkpoint to what executes its steps; devices.py: where, and with which precision
runner.py       how a step executes; on CPUs quantize.py, lstm.py and subsampling.py make it faster
packed          the same in compiled code, for int8 on CPUs; gpu: on a GPU
calibration.py  what a step costs on this machine, measured
process.py      what a process does for punctuality; memory.py: gives memory back to the system
"""

from nemotron_asr.engine.engine import Engine, Statistics
from nemotron_asr.engine.process import settle_process
from nemotron_asr.engine.session import Session

__all__ = ["Engine", "Session", "Statistics", "settle_process"]
