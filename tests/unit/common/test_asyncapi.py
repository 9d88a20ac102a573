"""The AsyncAPI document is that of the structs, and says of the golden events what is so."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from scripthut_common import asyncapi
from scripthut_common.events import COMMANDS, ItemEvent, Outcome, RunRequested, Type

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden"
DOCUMENT: dict[str, Any] = json.loads((ROOT / "docs" / "asyncapi.json").read_text("utf-8"))


def test_the_document_of_the_repository_is_that_of_the_structs() -> None:
    assert (ROOT / "docs" / "asyncapi.json").read_text("utf-8") == asyncapi.written(GOLDEN), "run `make asyncapi`"


def test_it_has_every_event_and_no_command() -> None:
    assert set(DOCUMENT["channels"]) == {kind.value for kind in Type} - {kind.value for kind in COMMANDS}
    assert RunRequested.__name__ not in DOCUMENT["components"]["schemas"]
    assert "command" not in DOCUMENT["components"]["schemas"]["ItemEvent"]["properties"]


def test_it_has_every_field_of_an_item_and_every_outcome() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    assert set(schemas["ItemEvent"]["properties"]) == {field.name for field in msgspec.structs.fields(ItemEvent)}
    assert set(schemas["Outcome"]["enum"]) == {outcome.value for outcome in Outcome}


def test_every_reference_leads_somewhere() -> None:
    for reference in _references(DOCUMENT):
        found: Any = DOCUMENT
        for word in reference.removeprefix("#/").split("/"):
            found = found[word]
        assert found


def test_no_pattern_is_pythons_own() -> None:
    assert "\\\\A" not in json.dumps(DOCUMENT)
    assert "\\\\Z" not in json.dumps(DOCUMENT)


@pytest.mark.parametrize("kind", asyncapi.TYPES)
def test_an_example_is_the_golden_event(kind: Type) -> None:
    (example,) = DOCUMENT["components"]["messages"][kind]["examples"]

    assert example["payload"] == json.loads((GOLDEN / f"{kind}.json").read_text("utf-8"))


@pytest.mark.parametrize("kind", asyncapi.TYPES)
def test_the_golden_event_is_what_the_document_says_of_it(kind: Type) -> None:
    event = json.loads((GOLDEN / f"{kind}.json").read_text("utf-8"))
    says = {**DOCUMENT["components"]["messages"][kind]["payload"], "components": DOCUMENT["components"]}
    schema = jsonschema_rs.validator_for(says)

    schema.validate(event)
    for field in ("id", "data"):
        assert not schema.is_valid({name: value for name, value in event.items() if name != field})
    assert not schema.is_valid(event | {"type": "item.unheard_of"})
    assert not schema.is_valid(event | {"data": event["data"] | {"sequence": "five", "attempt": "one"}})


def _references(value: object) -> list[str]:
    match value:
        case {"$ref": str() as reference}:
            return [reference]
        case dict():
            return [found for one in value.values() for found in _references(one)]
        case list():
            return [found for one in value for found in _references(one)]
        case _:
            return []
