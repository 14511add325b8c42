"""Paths at which there is nothing: where clients expect JSON, they are told what there is."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.problems import Kind, Problem

_NAMED = 100
"""Characters of a path that are repeated."""


async def not_found(request: Request, _error: Exception) -> Response:
    """Answer in OpenAI's shape under /v1, and otherwise as Starlette does."""
    path = request.url.path
    if not f"{path}/".startswith("/v1/"):
        return PlainTextResponse("Not Found", 404)
    routes = [route.path for route in request.app.routes if isinstance(route, Route | WebSocketRoute)]
    offered = sorted({path.replace(":path}", "}") for path in routes if path.startswith("/v1/")})
    problem = Problem(Kind.NOT_FOUND, f"{path[:_NAMED]} is unknown; choose {', '.join(offered)}")
    return JSONResponse({"error": {**shapes.error(problem), "code": "unknown_url"}}, problem.status)
