"""The web page: live captions of a microphone, transcripts of files, and how the server is."""

from nemotron_asr.server.page.routes import routes

__all__ = ["routes"]
