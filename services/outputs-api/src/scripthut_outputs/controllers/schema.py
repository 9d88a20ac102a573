"""The OpenAPI document at `/schema`, for those who write programs against the endpoints."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec
from litestar import Litestar, Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from scripthut_common import layout
from scripthut_outputs.access import Action
from scripthut_outputs.catalog.run_document import Open, RunDocument

from . import told_errors
from .answers import JSON
from .live import MEDIA_TYPE as EVENTS
from .problems import ProblemDocument
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
_ID = {"type": "string", "pattern": f"^{layout.ID_PATTERN.pattern}$"}
# What stands in addresses, wherever it does.
_IN_PATHS: Mapping[str, Mapping[str, Any]] = {
    "run_id": _ID,
    "task_id": _ID,
    "token_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "share_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{16}$"},
    "path": {"type": "string", "minLength": 1, "description": "the exact bytes of the name, percent-encoded; / stays"},
}
_CONDITIONS = {
    "Range": "one part, as `bytes=0-99`",
    "If-Range": "the `ETag` of the file whose part is wanted; else the whole one is answered",
    "If-Match": "answer this file alone, by its `ETag`",
    "If-None-Match": "answer 304 if this is the file",
}
_ETAG = {"ETag": {"description": "the file's SHA-256 in quotes", "required": True, "schema": _TEXT}}
_LOCATION = {"Location": {"description": "where the run is", "required": True, "schema": _TEXT}}


def config() -> OpenAPIConfig:
    """Say what the document is called and where it stands."""
    return OpenAPIConfig(
        title="ScriptHut Outputs",
        version="1",
        openapi_router=Router("/schema", route_handlers=[], opt=asks(Action.READ_SCHEMA)),
        render_plugins=[_Json(path=["/", "/openapi.json"])],
    )


class _Json(JsonRenderPlugin):
    """Adds what Litestar cannot see: bodies that we read and answer ourselves, and which errors there are."""

    _written: bytes | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        if self._written is None:
            # What is given is kept by the framework, and given again.
            told = _described(request.app, deepcopy(openapi_schema))
            self._written = super().render(request, told)
        return self._written


def _described(app: Litestar, openapi_schema: dict[str, Any]) -> dict[str, Any]:
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
        for parameter in operation.get("parameters", ()):
            _describe_parameter(parameter)
    _describe_creating(paths["/runs"]["post"], document)
    _take(paths["/tokens"]["post"], token)
    _take(paths["/runs/{run_id}/visibility"]["put"], opening)
    _take(paths["/runs/{run_id}/shares"]["post"], sharing, is_required=False)
    paths["/runs/{run_id}/summary"]["get"]["responses"]["200"]["content"]["text/markdown"] = {"schema": _TEXT}
    _describe_file(paths[told_errors.FILE])
    for archive in ("/runs/{run_id}/archive", "/runs/{run_id}/tasks/{task_id}/outputs/archive"):
        _describe_archive(paths[archive])
    _describe_events(paths["/runs/{run_id}/events"], dict(zip(_TOLD, told, strict=True)))
    for health in ("/health/live", "/health/ready"):
        _describe_health(paths[health]["get"])
    for here in ("/schema", "/schema/openapi.json"):
        for content in paths[here]["get"]["responses"]["200"]["content"].values():
            content["schema"] = {"type": "object"}
    _describe_errors(paths, told_errors.actions(app), problem)
    return openapi_schema


def _describe_parameter(parameter: dict[str, Any]) -> None:
    """Say what may stand there: what is left out is not `null`, since no address holds one."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("oneOf", ()) if kind != {"type": "null"}]
    for kind in kinds:
        schema.update(kind)
    if parameter["in"] == "path" and parameter["name"] in _IN_PATHS:
        parameter["schema"] = {**_IN_PATHS[parameter["name"]]}


def _take(operation: dict[str, Any], schema: dict[str, Any], *, is_required: bool = True) -> None:
    operation["requestBody"] = {"required": is_required, "content": {JSON: {"schema": schema}}}


def _describe_creating(create: dict[str, Any], document: dict[str, Any]) -> None:
    _take(create, document)
    made = {**create["responses"]["201"], "headers": _LOCATION}
    found = {**made, "description": "the same request made this run before"}
    create["responses"] = {"200": found, "201": made}


def _describe_file(path: dict[str, Any]) -> None:
    read = path["get"]
    bytes_ = {"application/octet-stream": _BYTES, "image/*": _BYTES, "text/plain": _BYTES}
    part = {
        "Content-Range": {"required": True, "schema": {"type": "string", "pattern": "^bytes [0-9]+-[0-9]+/[0-9]+$"}}
    }
    for name, description in _CONDITIONS.items():
        told = {"name": name, "in": "header", "required": False, "description": description, "schema": _TEXT}
        read["parameters"].append(told)
    whole = _answer("the file, in a type that no browser runs", bytes_)
    read["responses"] = {
        "200": {**whole, "headers": _ETAG},
        "206": {**_answer("the part that `Range` asks for", bytes_), "headers": {**_ETAG, **part}},
        "304": {"description": "`If-None-Match` names what it is", "headers": _ETAG},
    }
    _add_head(path, "304")


def _describe_archive(path: dict[str, Any]) -> None:
    read = path["get"]
    zipped = _answer("a zip; cut where it cannot be made to its end", {"application/zip": _BYTES})
    read["responses"] = {"200": zipped}
    _add_head(path)


def _describe_events(path: dict[str, Any], told: dict[str, Any]) -> None:
    read = path["get"]
    stream = _answer("server-sent events without an end; `data` of each is one line of JSON", {EVENTS: _TEXT})
    # No version of OpenAPI that our readers have can say what one event of a stream looks like.
    stream["x-events"] = {**told, "summary": _NOTHING, "reset": _NOTHING}
    read["responses"] = {"200": stream}
    _add_head(path)


def _describe_health(operation: dict[str, Any]) -> None:
    well = operation["responses"]["200"]
    operation["responses"]["503"] = {**well, "description": "it does not; `faults` names what is wrong"}


def _describe_errors(paths: dict[str, Any], actions: Mapping[tuple[str, str], Action], problem: dict[str, Any]) -> None:
    for path, operations in paths.items():
        for method, operation in operations.items():
            action = actions["get" if method == "head" else method, path]
            told_errors.tell(operation, method, path, action, problem)


def _add_head(path: dict[str, Any], *statuses: str) -> None:
    """HEAD answers as GET does, without its body."""
    read = path["get"]
    answers = {status: read["responses"][status] for status in statuses}
    answers["200"] = {"description": "the headers of GET"}
    path["head"] = {**read, "operationId": f"{read['operationId']}Head", "responses": answers}


def _answer(description: str, schemas: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {name: {"schema": schema} for name, schema in schemas.items()}}
