"""The OpenAPI document knows every route that programs may use, what each takes, and every status that it answers."""

import re
from typing import Any

import pytest

from tests.integration.outputs.house import House, document
from tests.integration.outputs.walking import routes

PROBLEM = "application/problem+json"
OF_A_RUN = {"400", "401", "403", "404", "421", "429", "503"}
CHANGING = OF_A_RUN | {"408", "413"}


@pytest.fixture
async def schema(house: House) -> dict[str, Any]:
    found: dict[str, Any] = (await house.get("/schema/openapi.json")).json()
    return found


async def test_the_document_is_for_those_who_are_known(house: House) -> None:
    assert (await house.get("/schema/openapi.json", None)).status_code == 401


async def test_the_document_is_the_same_however_often_it_is_read(house: House, schema: dict[str, Any]) -> None:
    for path in ("/schema", "/schema/openapi.json", "/schema"):
        assert (await house.get(path)).json() == schema


async def test_the_document_has_every_route_for_programs(house: House, schema: dict[str, Any]) -> None:
    served = {
        (method.lower(), path)
        for path, handler in routes(house)
        if handler.include_in_schema
        for method in handler.http_methods - {"OPTIONS"}
    }
    told = {(method, path) for path, operations in schema["paths"].items() for method in operations}

    assert {one for one in told if one[0] != "head"} == served - {("get", "/schema/{path}")}
    assert {path for method, path in told if method == "head"} == {
        "/runs/{run_id}/archive",
        "/runs/{run_id}/events",
        "/runs/{run_id}/tasks/{task_id}/outputs/archive",
        "/runs/{run_id}/tasks/{task_id}/outputs/file/{path}",
    }


async def test_every_operation_says_which_errors_it_answers_and_how(schema: dict[str, Any]) -> None:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            errors = {status: told for status, told in operation["responses"].items() if status >= "400"}
            is_open = path.startswith("/health/")
            assert "default" not in operation["responses"]
            assert errors.keys() >= ({"400", "401", "421", "429", "503"} if is_open else OF_A_RUN - {"404"}), path
            assert operation.get("security") == ([] if is_open else None)
            assert ("404" in errors) is ("{" in path), path
            assert ({"408", "413"} <= errors.keys()) is (method in {"post", "put", "delete"}), path
            assert errors["401"]["headers"].keys() == {"WWW-Authenticate"}
            kinds = {kind for told in errors.values() for kind in told.get("content", ())}
            assert kinds == (set() if method == "head" else {PROBLEM, "application/json"} if is_open else {PROBLEM})


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("post", "/runs", {"409", "422"}),
        ("post", "/tokens", {"409", "422"}),
        ("post", "/runs/{run_id}/tasks/{task_id}/outputs/collect", {"409"}),
        ("post", "/runs/{run_id}/shares", {"422"}),
        ("put", "/runs/{run_id}/visibility", {"422"}),
        ("get", "/runs", {"422"}),
        ("get", "/runs/{run_id}/tasks/{task_id}/outputs/file/{path}", {"206", "304", "412", "416"}),
        ("head", "/runs/{run_id}/tasks/{task_id}/outputs/file/{path}", {"304", "412", "416"}),
    ],
)
async def test_an_operation_says_what_it_alone_answers(
    schema: dict[str, Any], method: str, path: str, more: set[str]
) -> None:
    assert schema["paths"][path][method]["responses"].keys() >= more


async def test_bodies_and_bytes_are_described(schema: dict[str, Any]) -> None:
    paths, schemas = schema["paths"], schema["components"]["schemas"]

    asked = paths["/runs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "tasks" in schemas[asked["$ref"].rpartition("/")[2]]["properties"]
    read = paths["/runs/{run_id}/tasks/{task_id}/outputs/file/{path}"]["get"]
    assert read["responses"]["200"]["content"]["application/octet-stream"]["schema"]["format"] == "binary"
    assert {one["name"] for one in read["parameters"] if one["in"] == "header"} == {
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
    }
    assert set(paths["/runs/{run_id}/summary"]["get"]["responses"]["200"]["content"]) == {
        "application/json",
        "text/markdown",
    }
    assert "Location" in paths["/runs"]["post"]["responses"]["201"]["headers"]


async def test_parameters_say_what_may_stand_there_and_none_is_null(schema: dict[str, Any]) -> None:
    told = [
        parameter
        for operations in schema["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
    ]

    assert "null" not in str([parameter["schema"] for parameter in told])
    ids = {parameter["schema"]["pattern"] for parameter in told if parameter["name"] in {"run_id", "task_id"}}
    assert len(ids) == 1
    assert re.fullmatch(ids.pop(), "r1.a_b-c")
    assert all("pattern" in one["schema"] for one in told if one["name"] in {"cursor", "share_id", "token_id"})


async def test_what_the_document_says_of_a_task_is_what_is_checked(house: House, schema: dict[str, Any]) -> None:
    fields = schema["components"]["schemas"]["TaskSpec"]["properties"]
    patterns = {
        name: told["anyOf"][0]["pattern"] for name, told in fields.items() if "pattern" in str(told.get("anyOf"))
    }

    assert patterns.keys() == {"working_dir", "partition", "account", "memory", "time_limit", "gres"}
    for name, pattern in patterns.items():
        for text in ("4G", "1:00:00", "gpu:2", "debug", "/scratch", "~", "~me", "x y", "-", ""):
            answer = await house.post("/runs", document({"id": "t", "command": "true", name: text}))
            assert (answer.status_code == 201) is (re.search(pattern, text) is not None), (name, text)
