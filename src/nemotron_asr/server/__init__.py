"""One process, an engine per model, a thin adapter per protocol: request -> options, payload -> feed, event -> message.

service.py        Service: models, keys, limits, metrics; opens conversations
conversation.py   Conversation: one stream as an adapter sees it; bytes in, events out
answers.py        the order of what is told
hearing.py        bytes of any format -> samples: formats.py, pcm.py, wav.py; media.py and decoder.py
problems.py       what goes wrong, in no protocol's words
keys.py           who may come in; settings.py: how the server is set up
adapters.py       the list of adapters
web.py            what adapters over HTTP and WebSocket share
serving.py        sockets, signals, the end

Nothing is imported here, so that the command line can read the settings without the server's packages.
"""
