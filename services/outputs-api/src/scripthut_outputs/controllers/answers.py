"""Answers that are encoded once: kept as bytes until the run changes."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from scripthut_outputs.catalog.changes import Cache

T = TypeVar("T")
JSON = "application/json"
MAX_LIMIT = 10_000

Cursor = Annotated[
    str | None,
    QueryParameter(
        description="the `next` of the page before", max_length=1024, schema_extra={"pattern": "^[A-Za-z0-9_-]+$"}
    ),
]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="how many rows at most")]


def encoded(answer: msgspec.Struct, *, status_code: int = 200, **headers: str) -> Response[Any]:
    """Answer a struct as JSON."""
    return Response(msgspec.json.encode(answer), status_code=status_code, media_type=JSON, headers=headers)


async def kept(
    cache: Cache, run_id: str, key: tuple[object, ...], make: Callable[[], Awaitable[msgspec.Struct]]
) -> Response[Any]:
    """Answer what `make` gives, encoded once for all who ask until the run changes."""

    async def encode() -> bytes:
        return msgspec.json.encode(await make())

    return Response(await cache.get(run_id, ("body", *key), encode), media_type=JSON)
