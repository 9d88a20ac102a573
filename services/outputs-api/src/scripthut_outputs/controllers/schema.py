"""The OpenAPI document at `/schema`, for those who write programs against the endpoints."""

from typing import Any

import msgspec
from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from scripthut_outputs.access import Action
from scripthut_outputs.catalog.run_document import Open, RunDocument

from .answers import JSON
from .live import MEDIA_TYPE as EVENTS
from .problems import MEDIA_TYPE, ProblemDocument
from .routing import asks
from .shapes import ClusterToldJson, ItemJson, OutputsToldJson, RunToldJson
from .shares import ShareAsked
from .tokens import TokenDocument

_BEARER = {"type": "http", "scheme": "bearer", "description": "a personal token, or one of the service's tokens file"}
_TEXT = {"type": "string"}
_NOTHING = {"type": "object", "maxProperties": 0}
_REF = "#/components/schemas/{name}"
_TOLD = ("run", "item", "outputs", "cluster")
_BYTES = {"type": "string", "format": "binary"}
_EMPTY = {"200": {"description": "the headers of GET"}, "default": {"description": "an error"}}


def config() -> OpenAPIConfig:
    """Say what the document is called and where it stands."""
    return OpenAPIConfig(
        title="ScriptHut Outputs",
        version="1",
        openapi_router=Router("/schema", route_handlers=[], opt=asks(Action.READ_SCHEMA)),
        render_plugins=[_Json(path=["/", "/openapi.json"])],
    )


class _Json(JsonRenderPlugin):
    """Adds what Litestar cannot see: bodies that we read and answer ourselves, and how errors look."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        asked = (RunDocument, TokenDocument, Open, ShareAsked)
        ours = (*asked, ProblemDocument, RunToldJson, ItemJson, OutputsToldJson, ClusterToldJson)
        schemas, structs = msgspec.json.schema_components(ours, ref_template=_REF)
        document, token, opening, sharing, problem, *told = schemas
        components = openapi_schema.setdefault("components", {})
        components.setdefault("schemas", {}).update(structs)
        components["securitySchemes"] = {"token": _BEARER}
        openapi_schema["security"] = [{"token": []}]
        paths = openapi_schema["paths"]
        paths.pop("/schema/{path}", None)
        for operation in (operation for path in paths.values() for operation in path.values()):
            operation["responses"].pop("400", None)
            operation["responses"]["default"] = _answer("an error, and what to do", {MEDIA_TYPE: problem})
        create = paths["/runs"]["post"]
        create["requestBody"] = {"required": True, "content": {JSON: {"schema": document}}}
        found = {**create["responses"]["201"], "description": "the same request made this run before"}
        create["responses"] = {"200": found, **create["responses"]}
        paths["/tokens"]["post"]["requestBody"] = {"required": True, "content": {JSON: {"schema": token}}}
        opened, shared = paths["/runs/{run_id}/visibility"]["put"], paths["/runs/{run_id}/shares"]["post"]
        opened["requestBody"] = {"required": True, "content": {JSON: {"schema": opening}}}
        shared["requestBody"] = {"required": False, "content": {JSON: {"schema": sharing}}}
        paths["/runs/{run_id}/summary"]["get"]["responses"]["200"]["content"]["text/markdown"] = {"schema": _TEXT}
        _describe_file(paths["/runs/{run_id}/tasks/{task_id}/outputs/file/{path}"])
        for archive in ("/runs/{run_id}/archive", "/runs/{run_id}/tasks/{task_id}/outputs/archive"):
            _describe_archive(paths[archive])
        _describe_events(paths["/runs/{run_id}/events"], dict(zip(_TOLD, told, strict=True)))
        return super().render(request, openapi_schema)


def _describe_file(path: dict[str, Any]) -> None:
    read = path["get"]
    bytes_ = {"application/octet-stream": _BYTES, "image/*": _BYTES, "text/plain": _BYTES}
    found = {
        "200": _answer("the file, in a type that no browser runs; `ETag` is its SHA-256", bytes_),
        "206": _answer("the part that `Range` asks for", bytes_),
        "304": {"description": "`If-None-Match` names what it is"},
        "412": {"description": "`If-Match` names something else"},
    }
    read["responses"] = {**found, "default": read["responses"]["default"]}
    path["head"] = {**read, "operationId": f"{read['operationId']}Head", "responses": _EMPTY}


def _describe_archive(path: dict[str, Any]) -> None:
    read = path["get"]
    read["responses"] = {
        "200": _answer("a zip; cut where it cannot be made to its end", {"application/zip": _BYTES}),
        "default": read["responses"]["default"],
    }
    path["head"] = {**read, "operationId": f"{read['operationId']}Head", "responses": _EMPTY}


def _describe_events(path: dict[str, Any], told: dict[str, Any]) -> None:
    read = path["get"]
    stream = _answer("server-sent events without an end; `data` of each is one line of JSON", {EVENTS: _TEXT})
    # No version of OpenAPI that our readers have can say what one event of a stream looks like.
    stream["x-events"] = {**told, "summary": _NOTHING, "reset": _NOTHING}
    read["responses"] = {"200": stream, "default": read["responses"]["default"]}
    path["head"] = {**read, "operationId": f"{read['operationId']}Head", "responses": _EMPTY}


def _answer(description: str, schemas: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {name: {"schema": schema} for name, schema in schemas.items()}}
