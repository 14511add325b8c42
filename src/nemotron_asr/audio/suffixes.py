"""How the names of recordings end."""

AUDIO = (
    "3gp aac ac3 aif aiff alac amr ape au awb caf dts flac gsm m4a m4b mka mp2 mp3 mpc oga ogg opus ra snd spx tta voc "
    "w64 wav weba wma wv"
)
VIDEO = "asf avi divx f4v flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv rm rmvb ts vob webm wmv"
SUFFIXES = frozenset(f".{suffix}" for suffix in f"{AUDIO} {VIDEO}".split())
"""In lower case. What ends otherwise may be a recording, too, for those who name it."""
