"""Errors as ``application/problem+json`` (RFC 9457), and JSON that no client's text can break."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

log = logging.getLogger("cerviclip.server")


class SafeJSON(JSONResponse):
    """JSON in ASCII: a lone surrogate that a client has sent would have no UTF-8 form."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class ProblemJSON(SafeJSON):
    media_type = "application/problem+json"


class Problem(HTTPException):
    """An answer that is an error.

    Args:
        status: of HTTP.
        detail: one line for the client, with the way out.
        headers: of HTTP.
        more: members of the answer besides those of the RFC.
    """

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.more = more


class ProblemModel(BaseModel):
    """What an error looks like (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    error: str  # the same words, where Open Inference Protocol clients look for them
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "about:blank",
                "title": "Unsupported Media Type",
                "status": 415,
                "detail": "file 1 is a ZIP archive; send PNG, JPEG, TIFF, BMP or DICOM",
                "error": "file 1 is a ZIP archive; send PNG, JPEG, TIFF, BMP or DICOM",
            }
        },
    )


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its OpenAPI description."""
    schema = {"$ref": "#/components/schemas/ProblemModel"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {ProblemJSON.media_type: {"schema": schema}},
        }
        for status in statuses
    }


def problem_answer(error: HTTPException) -> ProblemJSON:
    """The answer that states an error."""
    detail = str(error.detail)
    content = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": detail,
        "error": detail,
        **getattr(error, "more", {}),
    }
    return ProblemJSON(content, error.status_code, headers=error.headers)


def add_handlers(app: FastAPI) -> None:
    """Every expected error of an app as a problem; `Gate` has the unexpected ones."""

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> ProblemJSON:
        return problem_answer(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> ProblemJSON:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return problem_answer(Problem(422, f"{where}: {first['msg']}"))


def log_unexpected(error: BaseException) -> None:
    """Log an error's type and place, never its message."""
    places = [f"{f.filename}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
    log.error("unexpected %s at %s", type(error).__name__, " < ".join(reversed(places)))
