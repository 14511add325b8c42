"""One process, an engine per model, a thin adapter per protocol: request -> options, payload -> feed, event -> message.

service.py        Service: models, keys, limits, metrics; opens conversations
conversation.py   Conversation: one stream as an adapter sees it; bytes in, events out
answers.py        the order of what is told: telling.py; channels.py: side by side; sides.py: both sides of a stream
audio_input.py    bytes of any format -> samples: formats.py, wav.py; media.py and decoder.py, spool.py
checks.py         options from outside: phrases.py, weights.py: what is likely; bounds.py: how long a stream may be
problems.py       what goes wrong, in no protocol's words; objects.py: JSON of strangers
keys.py           who may come in; origins.py: whose pages; settings.py: how the server is set up; models.py: its models
adapters.py       the list of adapters: native.py, deepgram*.py, openai*.py, nim*.py, riva*.py, wyoming*.py
web.py            what adapters over HTTP and WebSocket share: live.py, elsewhere.py; realtime*.py: OpenAI's and NIM's
serving.py        sockets.py, signals, the end; connections.py, waits.py: whose patience ends; few.py: so many at once
operations.py     health, metrics.py, models; watch.py, logs.py, traces.py: what is counted and told
page              the web page

Nothing heavy is imported here, so that the command line can read the settings without the server's packages.
"""

import os

# gRPC reads this when it is imported. A message that is read by the thread that waits for messages, and not by one of a
# pool that is woken for it, takes a quarter less of the processor (docs/tuning.md).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
# Processes that are started have nothing to do with gRPC, which otherwise says at each of them, in a line of its own,
# that it does nothing about them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
