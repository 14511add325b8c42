"""How fast a model is on this machine: one stream, many streams in real time, recordings, and where the time goes.

random_model.py   weights of the released model's size that talk about as much as speech does
realtime.py       streams that speak in real time, and whether they are served in time
single.py         seconds of compute per second of audio, one stream after the other
profile.py        where the time of a step goes
"""
