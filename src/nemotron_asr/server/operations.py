"""How the server is: health, metrics, models. Also where a NIM container has them.

All answers are made in the event loop's thread, so that what they report cannot change meanwhile.
"""

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from nemotron_asr import __version__
from nemotron_asr.config import LATENCIES
from nemotron_asr.server import openai_shapes as shapes
from nemotron_asr.server.models import Model
from nemotron_asr.server.problems import Problem
from nemotron_asr.server.service import Service
from nemotron_asr.server.web import token_of

PROTOCOL = "operations"


def routes(service: Service) -> list[BaseRoute]:
    """What the adapter answers. Health and metrics need no API key: they say nothing of any stream."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        status = "ready" if service.ready else "stopping" if service.draining else "loading"
        return JSONResponse({"status": status}, 200 if service.ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def version(_: Request) -> Response:
        return JSONResponse({"release": __version__, "api": "v1"})

    async def models(request: Request) -> Response:
        try:
            service.authenticate(token_of(request), PROTOCOL)
            name = request.path_params.get("name")
            if name is not None:
                return JSONResponse(_about(service.models.find(name, shapes.FOREIGN_MODELS)))
        except Problem as problem:
            return shapes.answer_error(problem)
        return JSONResponse({"object": "list", "data": [_about(model) for model in service.models.by_name.values()]})

    answers = {"/health/live": live, "/health/ready": ready, "/metrics": metrics}
    return [
        *(Route(f"{prefix}{path}", answer) for path, answer in answers.items() for prefix in ("", "/v1")),
        Route("/v1/version", version),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", models),
    ]


def _about(model: Model) -> dict[str, object]:
    """A model in the shape of OpenAI's list, with what ours can say besides."""
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "nemotron-asr",
        "parent": model.parent,
        "languages": model.languages,
        "latencies_ms": list(LATENCIES),
    }
