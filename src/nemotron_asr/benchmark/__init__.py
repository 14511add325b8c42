"""How fast a model is on this machine: one stream, many streams in real time, recordings, and where the time goes.

speech.py         the bundled recordings, which all of them listen to
random_model.py   weights of the released model's size that talk about as much as speech does
single.py         seconds of compute per second of audio, one stream after the other
realtime.py       streams that speak in real time, and whether they are served in time; fleet.py: thousands, on a GPU
driver.py         the engine's steps without its threads
profile.py        where the time of a step goes
against_*.py      beside transformers, NeMo and sherpa-onnx, in turns: comparison.py, contenders.py, pair.py
load.py           a server under load, through sockets: lines.py, *_line.py
"""
