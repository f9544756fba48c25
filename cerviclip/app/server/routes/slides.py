"""Tiles of whole slides, which lie in a folder of the server and are never uploaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from cerviclip.app.parts.names import Tile
from cerviclip.app.parts.reading import read_tile
from cerviclip.app.server.answers import PredictModel, describe, head
from cerviclip.app.server.context import context_of
from cerviclip.app.server.problems import Problem, responses
from cerviclip.app.server.routes.v1 import REFUSED, Reader
from cerviclip.app.server.settings import Limits
from cerviclip.app.server.uploads import Upload, array_upload
from cerviclip.data.slides import Slide
from dassl.errors import UserError

router = APIRouter(prefix="/v1", tags=["CerviCLIP"])
Px = Annotated[int, Field(ge=0, le=2**31)]


class TileModel(BaseModel):
    x: Px = Field(description="left edge, in px of level 0")
    y: Px = Field(description="upper edge, in px of level 0")
    width: Px = Field(description="in px of the level")
    height: Px
    level: int = Field(0, ge=0, le=99, description="0: the full resolution")


class TilesRequest(BaseModel):
    """Tiles of one slide."""

    slide: str = Field(min_length=1, max_length=400, description="its path below the folder")
    tiles: list[TileModel] = Field(min_length=1)
    model: str = Field("", max_length=200, description="its name; empty: the first one")
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "slide": "case_17.svs",
                "tiles": [{"x": 20480, "y": 10240, "width": 512, "height": 512, "level": 1}],
            }
        }
    )


@router.post("/tiles", response_model=PredictModel, responses=responses(*REFUSED))
async def tiles(request: Request, who: Reader, asked: TilesRequest) -> Any:
    """Answers for tiles of a slide; ``file`` is the tile's number, the hash its pixels'."""
    context = context_of(request)
    served, settings = context.served(asked.model), context.settings
    if len(asked.tiles) > settings.limits.files:
        raise Problem(413, f"at most {settings.limits.files} tiles are taken")
    path = slide_path(settings.slides, asked.slide)
    uploads = await to_thread.run_sync(
        read_tiles, path, asked.tiles, settings.limits, limiter=context.decoding
    )
    answers = await context.answer(served, uploads, who, "/v1/tiles")
    return {**head(served), "answers": [describe(answer) for answer in answers]}


def slide_path(folder: Path | None, name: str) -> Path:
    """The file of a slide.

    Raises:
        Problem: 404, no slides are served, or none of that name below the folder.
    """
    if folder is None:
        raise Problem(404, "this server has no slides; it is started with --slides DIR")
    home = folder.resolve()
    try:
        path = (home / name).resolve()
        found = path.is_relative_to(home) and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        found = False
    if not found:
        raise Problem(404, "there is no such slide")
    return path


def read_tiles(path: Path, wanted: list[TileModel], limits: Limits) -> list[Upload]:
    """Tiles of a slide, in their order.

    Raises:
        Problem: 413, too many pixels; 422, no slide, or a tile beyond it.
    """
    pixels = sum(one.width * one.height for one in wanted)
    if pixels > limits.pixels:
        raise Problem(413, f"{limits.pixels} px are allowed in a request")
    try:
        slide = Slide(path)
    except UserError:  # its words name the file
        raise Problem(422, "the file is no slide that can be read here") from None
    found = []
    try:
        for number, one in enumerate(wanted, start=1):
            try:
                picture = read_tile(slide, Tile(**one.model_dump()), limits.pixels)
            except UserError as error:
                raise Problem(422, f"tile {number}: {error}") from None
            except Exception as error:  # OpenSlide's errors of a broken slide
                raise Problem(422, f"tile {number} cannot be read") from error
            found.append(array_upload(np.asarray(picture), number))
    finally:
        slide.close()
    return found
