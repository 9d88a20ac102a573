"""The OpenAPI document at `/schema`, for those who write programs against the endpoints."""

from typing import Any

import msgspec
from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from scripthut_outputs.access import Action
from scripthut_outputs.catalog.run_document import RunDocument

from .routing import asks

_BEARER = {"type": "http", "scheme": "bearer", "description": "a token of the service's tokens file"}


def config() -> OpenAPIConfig:
    """Say what the document is called and where it stands."""
    return OpenAPIConfig(
        title="ScriptHut Outputs",
        version="1",
        openapi_router=Router("/schema", route_handlers=[], opt=asks(Action.READ_SCHEMA)),
        render_plugins=[_Json(path=["/", "/openapi.json"])],
    )


class _Json(JsonRenderPlugin):
    """Adds what Litestar cannot see: the run document, which we read ourselves to name every fault at once."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        (document,), structs = msgspec.json.schema_components([RunDocument], ref_template="#/components/schemas/{name}")
        components = openapi_schema.setdefault("components", {})
        components.setdefault("schemas", {}).update(structs)
        components["securitySchemes"] = {"token": _BEARER}
        openapi_schema["security"] = [{"token": []}]
        content = {"application/json": {"schema": document}}
        openapi_schema["paths"]["/runs"]["post"]["requestBody"] = {"required": True, "content": content}
        return super().render(request, openapi_schema)
