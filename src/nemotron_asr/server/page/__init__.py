"""The web page: live captions of a microphone, transcripts of files, and how the server is.

routes.py    its files, and what they ask for
"""

from nemotron_asr.server.page.routes import routes

__all__ = ["routes"]
