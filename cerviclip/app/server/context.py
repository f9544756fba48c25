"""What all routes share: the models, the audit log, the jobs, and who may ask."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from anyio import CapacityLimiter, to_thread
from fastapi import Request, Security
from fastapi.security import HTTPBearer
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import HTTPConnection
from starlette.types import Scope

from cerviclip.app.append_file import DiskFullError
from cerviclip.app.audit_log import Answered, AuditLog
from cerviclip.app.predictor import Predictor
from cerviclip.app.server.access import EVERYBODY, RateLimit, Token, who_is
from cerviclip.app.server.answers import describe
from cerviclip.app.server.batching import FULL, Answer, Served
from cerviclip.app.server.jobs import Jobs
from cerviclip.app.server.metrics import Metrics
from cerviclip.app.server.problems import Problem
from cerviclip.app.server.settings import Settings
from cerviclip.app.server.uploads import Upload, read_uploads

DECODING = 2  # requests whose pictures are decoded at a time, so that memory stays bounded


@dataclass
class Form:
    """A multipart request: files in their order, and plain fields."""

    files: list[tuple[str, bytes]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


class Context:
    """A running server's parts; `close` finishes what runs.

    Args:
        predictors: name -> predictor; the first is asked where a request names none.
        settings: of the server.

    Raises:
        UserError: the audit log or the file of jobs cannot be used.
    """

    def __init__(self, predictors: Mapping[str, Predictor], settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.audit = AuditLog(settings.audit_log)
        self.limit = RateLimit(settings.limits.per_minute)
        self.models = {
            name: Served(name, predictor, self.audit, self.metrics, settings)
            for name, predictor in predictors.items()
        }
        self.jobs = Jobs(settings.jobs, self.models, settings, describe)
        self.decoding = CapacityLimiter(DECODING)
        self.client = httpx.AsyncClient(timeout=30, trust_env=False)  # follows no redirect

    @property
    def ready(self) -> bool:
        return all(served.alive for served in self.models.values())

    def served(self, name: str = "") -> Served:
        """A model by name; the first one for no name.

        Raises:
            Problem: 404, with the names of those that are served.
        """
        found = self.models.get(name) if name else next(iter(self.models.values()))
        if found is None:
            served = ", ".join(self.models)
            raise Problem(404, f"no model {name!r}; name one that is served: {served}")
        return found

    async def read(
        self, served: Served, files: Sequence[tuple[str, bytes]], frame: int | None = None
    ) -> list[Upload]:
        """Pictures of a request's files, decoded beside the event loop.

        Args:
            frame: of DICOM files, that is read alone.
        """
        limits, windows = self.settings.limits, served.predictor.reading.windows
        return await to_thread.run_sync(
            read_uploads, files, limits, windows, frame, limiter=self.decoding
        )

    async def answer(
        self, served: Served, uploads: Sequence[Upload], who: Token, route: str
    ) -> list[Answer]:
        """Answers that stand in the audit log."""
        if not uploads:
            raise Problem(422, "there is no picture in the request")
        return await asyncio.wrap_future(served.submit(uploads, who.name, route))

    def answered(self, entry: str) -> Answered:
        """The model and the classes of an answer that stands in the audit log.

        Raises:
            Problem: 404, no answer has this entry.
        """
        found = self.audit.answered(entry)
        if found is None:
            raise Problem(404, f"entry {entry} is no answer that this server knows")
        return found

    async def record(self, entries: Sequence[dict[str, Any]]) -> list[str]:
        """Write entries that are no answers into the audit log, all or none; their ids.

        Raises:
            Problem: 507, the disk is full.
        """
        try:
            return await to_thread.run_sync(self.audit.append, entries)
        except DiskFullError:
            raise Problem(507, FULL) from None

    async def aclose(self) -> None:
        """`close` beside the event loop, which running requests need."""
        await self.client.aclose()
        await to_thread.run_sync(self.close)

    def close(self) -> None:
        """Finish what runs: jobs for a while, then all requests that wait for a model."""
        self.jobs.close(self.settings.grace)
        for served in self.models.values():
            served.close()
        self.audit.close()


def context_of(request: Request) -> Context:
    return request.app.state.context


_bearer = Security(HTTPBearer(auto_error=False, description="a token of the server's operator"))


def admit(context: Context, scope: Scope) -> None:
    """Let a client in before a byte of the request's body is read; `needs` finds who it is.

    Raises:
        Problem: 401, 403 or 429.
    """
    request = HTTPConnection(scope)
    tokens = context.settings.tokens
    address = request.client.host if request.client else "?"
    who: Token | None = EVERYBODY
    if tokens:
        who = who_is(request.headers.get("authorization", ""), tokens)
    elif _of_another_page(request):
        raise Problem(403, "a page of another origin may not ask a server without tokens")
    wait = context.limit.wait_for(f"@{address}" if who in (None, EVERYBODY) else who.name)
    if wait:
        raise Problem(429, "too many requests", {"Retry-After": str(int(wait) + 1)})
    if who is None:
        raise Problem(401, "a bearer token is needed", {"WWW-Authenticate": "Bearer"})
    request.state.who = who


def needs(role: str) -> Callable[..., Awaitable[Token]]:
    """A dependency of routes: the client that `admit` has let in, who must have a role."""

    async def check(request: Request, _: Any = _bearer) -> Token:
        who: Token = request.state.who
        if not who.may(role):
            raise Problem(403, f"this needs the role {role}, and the token has {who.role}")
        return who

    return check


def _of_another_page(request: HTTPConnection) -> bool:
    """Whether a browser sends it for a page from elsewhere, which could reach a local server."""
    origin = request.headers.get("origin")
    return origin is not None and origin != f"{request.url.scheme}://{request.headers.get('host')}"


async def read_form(request: Request, files: int, field: str = "files") -> Form:
    """The files and fields of a multipart request, in memory alone.

    Args:
        request: whose body `Gate` bounds.
        files: most that are taken.
        field: name of the files' parts; ``FIELD[]`` is taken too.

    Raises:
        Problem: 415, no multipart; 413, too many files; 400, a broken body; 422, no file.
    """
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Problem(415, f"send multipart/form-data with parts named {field}")
    parser = MultiPartParser(request.headers, request.stream(), max_files=files, max_fields=32)
    limits = context_of(request).settings.limits
    parser.spool_max_size = max(limits.body_bytes, limits.job_bytes) + 1  # never to the disk
    form = Form()
    try:
        data = await parser.parse()
    except (MultiPartException, FormParserError, KeyError, ValueError) as error:
        many = "Too many" in str(error)
        said = f"at most {files} files are taken" if many else "the multipart body is broken"
        raise Problem(413 if many else 400, said) from None
    for name, value in data.multi_items():
        if not isinstance(value, UploadFile):
            form.fields[name] = value
        elif name in (field, f"{field}[]"):
            form.files.append((value.filename or "", await value.read()))
    await data.close()
    if not form.files:
        raise Problem(422, f"no file came: send parts named {field}")
    return form


def hashed(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """sha256 instead of the names of files."""
    return [(hashlib.sha256(data).hexdigest(), data) for _, data in files]


def multipart(field: str, many: bool, **more: Any) -> dict[str, Any]:
    """What the OpenAPI description says of a multipart request."""
    file = {"type": "string", "format": "binary"}
    files = {"type": "array", "items": file, "minItems": 1} if many else file
    schema = {"type": "object", "required": [field], "properties": {field: files, **more}}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }
