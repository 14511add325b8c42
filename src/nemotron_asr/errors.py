"""Everything that can go wrong, as one tree; each message is one line that names the value and the choices.

NemotronError
├── AudioError            a file, a stream or an array that is not usable audio
├── CheckpointError       a model that is missing, truncated, foreign or inconsistent
│   └── ConfigError       a setting of a checkpoint that this implementation does not have
├── LanguageError         a language that nobody knows (the nearest ones are named); a ValueError, too
├── OptionError           an argument outside its choices; a ValueError, too
├── StreamClosedError     audio fed to a stream that has ended
├── StreamFailedError     a stream that the engine had to end: its step failed, its events were not read, or its audio
│                         came too fast
├── AtCapacity            one more live stream than the machine sustains
├── EngineClosedError     a stream of an engine, or a recording for a cluster, that was closed
├── ManifestError         a training or evaluation manifest that cannot be read
└── MissingExtraError     a feature whose optional packages are not installed
"""


class NemotronError(Exception):
    """The root: catch this to catch all of ours."""


class AudioError(NemotronError):
    """A file, a stream or an array that is not usable audio."""


class CheckpointError(NemotronError):
    """A model that is missing, truncated, foreign or inconsistent."""


class ConfigError(CheckpointError):
    """A setting of a checkpoint that this implementation does not have."""


class LanguageError(NemotronError, ValueError):
    """A language that nobody knows; the message names the nearest ones."""


class OptionError(NemotronError, ValueError):
    """An argument outside its choices.

    Attributes:
        option: its name, where it is one of `nemotron_asr.options.Options`.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class StreamClosedError(NemotronError):
    """Audio fed to a stream that has ended."""


class StreamFailedError(NemotronError):
    """A stream that the engine had to end: its step failed, its events were not read, or its audio came too fast."""


class AtCapacity(NemotronError):  # noqa: N818 - users catch it by this name
    """One more live stream than the machine sustains; the message names the number."""


class EngineClosedError(NemotronError):
    """A stream of an engine, or a recording for a cluster, that was closed."""


class ManifestError(NemotronError):
    """A training or evaluation manifest that cannot be read."""


class MissingExtraError(NemotronError):
    """A feature whose optional packages are not installed; the message names the extra."""


def needs_extra(feature: str, extra: str, missing: str | None = None) -> MissingExtraError:
    """What to raise where an extra of the package is not installed: one line that says how to install it.

    Args:
        feature: what cannot be had without it.
        extra: its name.
        missing: the module that was not found, where the extra has several.
    """
    found_out = f" ({missing} is missing)" if missing else ""
    return MissingExtraError(f"{feature} needs the extra {extra}{found_out}: pip install 'nemotron-asr[{extra}]'")


def printable(text: str) -> str:
    """A text, such as a file's name, with escapes for what would end a line or what no log can write."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(message: object, most: int = 200) -> str:
    """A foreign error's message without line breaks, and no longer than `most` characters."""
    return " ".join(str(message).split())[:most]
