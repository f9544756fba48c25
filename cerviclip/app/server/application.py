"""The app: routes, health and metrics, and the gate that every request passes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cerviclip.app.predictor import RESEARCH_ONLY, Predictor
from cerviclip.app.server.access import Token
from cerviclip.app.server.context import Context, admit, context_of, needs
from cerviclip.app.server.metrics import CONTENT_TYPE
from cerviclip.app.server.problems import (
    Problem,
    ProblemModel,
    SafeJSON,
    add_handlers,
    log_unexpected,
    problem_answer,
    responses,
)
from cerviclip.app.server.routes import inference as routes_inference
from cerviclip.app.server.routes import jobs as routes_jobs
from cerviclip.app.server.routes import label_studio as routes_label_studio
from cerviclip.app.server.routes import monai as routes_monai
from cerviclip.app.server.routes import slides as routes_slides
from cerviclip.app.server.routes import v1 as routes_v1
from cerviclip.app.server.settings import Settings
from dassl._version import __version__

log = logging.getLogger("cerviclip.server")
_OPEN = re.compile(  # whoever watches the server, and its description, need no token
    r"/(health|ready|docs|docs/oauth2-redirect|redoc|openapi\.json)"
    r"|/v2/health/(live|ready)|/v2/models/[^/]+(/versions/[^/]+)?/ready"
)
_PICTURES = re.compile(  # requests that carry pictures; a webhook repeats those inside its task
    r"/v1/(predict|explain|jobs(/[^/]+/files)?)|/v2/models/[^/]+(/versions/[^/]+)?/infer"
    r"|/predict|/webhook|/infer/[^/]+"
)
_HASHES = re.compile(r"/activelearning/[^/]+")  # up to 100,000 names of 64 digits
_FEW, _MANY = 1 << 20, 8 << 20  # bytes of a request without pictures, and with hashes
_DESCRIPTION = f"""{RESEARCH_ONLY} Class probabilities of trained models for uploaded pictures.

Errors are `application/problem+json`. Pictures are never kept, and every answer stands in an audit
log before it is given."""


def create_app(predictors: Mapping[str, Predictor], settings: Settings) -> FastAPI:
    """The server's app.

    Args:
        predictors: name in addresses -> predictor.
        settings: of the server.

    Raises:
        UserError: the audit log or the file of jobs cannot be used.
    """
    context = Context(predictors, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await context.aclose()

    app = FastAPI(
        title="CerviCLIP",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        default_response_class=SafeJSON,
    )
    app.state.context = context
    add_handlers(app)
    _add_operation(app)
    for part in (
        *(routes_v1, routes_slides, routes_jobs),
        *(routes_inference, routes_label_studio, routes_monai),
    ):
        app.include_router(part.router)
    _describe_problems(app)
    app.add_middleware(Gate, context=context)
    return app


def _add_operation(app: FastAPI) -> None:
    """Routes for whoever runs the server."""

    @app.get("/health", tags=["Operation"])
    async def health() -> Any:
        """The process lives."""
        return {"status": "UP", "use": RESEARCH_ONLY}

    @app.get("/ready", tags=["Operation"], responses=responses(503))
    async def ready(request: Request) -> Any:
        """Every model takes pictures."""
        if not context_of(request).ready:
            raise Problem(503, "not ready")
        return {"status": "ready", "use": RESEARCH_ONLY}

    @app.get(
        "/metrics",
        tags=["Operation"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **responses(401, 403, 429)},
    )
    async def metrics(request: Request, _: Annotated[Token, Depends(needs("reader"))]) -> Response:
        """Latency, queue, classes, for Prometheus."""
        return Response(context_of(request).metrics.text(), media_type=CONTENT_TYPE)


def _describe_problems(app: FastAPI) -> None:
    """Put `ProblemModel` into the OpenAPI description, which refers to it by its name."""
    made: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        description = made()
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("ProblemModel", ProblemModel.model_json_schema())
        return description

    app.openapi = openapi  # type: ignore[method-assign]


class Gate:
    """What every request passes: the token, a limit of bytes, a watch, a line in the log, a last
    catch.

    The log has method, route, status and time: no address, no query, no file's name, and of an
    unexpected error its place alone.
    """

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self.app, self.context = app, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-use", RESEARCH_ONLY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        try:
            if not _OPEN.fullmatch(scope["path"]):
                admit(self.context, scope)
            most = self._most(scope)
            stated = dict(scope["headers"]).get(b"content-length", b"0")
            if stated.isascii() and stated.isdigit() and (len(stated) > 18 or int(stated) > most):
                raise Problem(413, f"{most} bytes are allowed in a request")
            await self.app(scope, _bounded(receive, most), watched)
        except Problem as error:
            if not status:
                await problem_answer(error)(scope, receive, watched)
        except Exception as error:
            log_unexpected(error)
            if not status:
                problem = Problem(500, "an unexpected error; the server's log has its place")
                await problem_answer(problem)(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "other")
            self.context.metrics.latency.labels(route, str(status)).observe(seconds)
            log.info("%s %s %d %.0f ms", scope["method"], route, status, 1000 * seconds)

    def _most(self, scope: Scope) -> int:
        limits, path = self.context.settings.limits, scope["path"]
        if not _PICTURES.fullmatch(path):
            return min(limits.body_bytes, _MANY if _HASHES.fullmatch(path) else _FEW)
        return limits.job_bytes if path.startswith("/v1/jobs") else limits.body_bytes


def _bounded(receive: Receive, most: int) -> Receive:
    """``receive`` that refuses more bytes than are allowed, whatever length was stated."""
    left = most

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise Problem(413, f"{most} bytes are allowed in a request")
        return message

    return bounded
