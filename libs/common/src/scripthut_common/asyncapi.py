"""The contract of events as an AsyncAPI 3 document, made of the structs: `python -m scripthut_common.asyncapi FOLDER`.

FOLDER holds an example of each event as `<type>.json`. Commands are no part of it: nobody else may send or read them.
Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .bus import EVENTS
from .events import COMMANDS, PAYLOADS, Type
from .layout import CLUSTER_NAME_RULE

TYPES = tuple(kind for kind in Type if kind not in COMMANDS)
VERSION = "1.0.0"
_REF = "#/components/schemas/{name}"
_SUMMARIES = {
    Type.ITEM_SUBMITTED: "The scheduler has a task.",
    Type.ITEM_CHANGED: "The state or reason of a task changed; at most one in ten seconds, always the last.",
    Type.ITEM_STARTED: "A task runs.",
    Type.ITEM_COMPLETED: "A task reached an outcome, whichever; or the outcome was corrected.",
    Type.OUTPUTS_COLLECTED: "The files of a task are here, or as much of them as will come.",
    Type.RUN_EXTENDED: "A task generated further tasks.",
    Type.RUN_COMPLETED: "All tasks of a run have ended.",
    Type.CLUSTER_OBSERVED: "How a cluster does: on change, and every 30 s.",
}
_DESCRIPTION = """\
What becomes of tasks and their outputs, for every program that may listen. One CloudEvents 1.0 envelope in structured
JSON for each event, below 64 KiB, on one durable topic exchange.

An event may come twice, and out of order: keep the highest (attempt, revision, sequence) of each task. Later versions
add types, fields and words; nothing is taken away or given another meaning: pass over what you do not know.
"""


def document(examples: Mapping[Type, object]) -> dict[str, Any]:
    """Make the document; `examples` has a whole event for each type."""
    schemas = _schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "ScriptHut events", "version": VERSION, "description": _DESCRIPTION},
        "defaultContentType": "application/cloudevents+json",
        "channels": {kind.value: _channel(kind) for kind in TYPES},
        "operations": {f"send.{kind}": _operation(kind) for kind in TYPES},
        "components": {
            "messages": {kind.value: _message(kind, examples[kind]) for kind in TYPES},
            "schemas": dict(sorted(schemas.items())),
        },
    }


def written(folder: Path) -> str:
    """The document as its file says it, with the examples of a folder."""
    examples = {kind: json.loads((folder / f"{kind}.json").read_text("utf-8")) for kind in TYPES}
    return json.dumps(document(examples), indent=2, ensure_ascii=False) + "\n"


def _channel(kind: Type) -> dict[str, Any]:
    exchange = {"name": EVENTS, "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": f"{kind}.{{cluster}}",
        "title": kind.value,
        "summary": _SUMMARIES[kind],
        "messages": {kind.value: {"$ref": f"#/components/messages/{kind}"}},
        "parameters": {"cluster": {"description": f"The cluster's name: {CLUSTER_NAME_RULE}."}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0"}},
    }


def _operation(kind: Type) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{kind}"},
        "summary": _SUMMARIES[kind],
        "messages": [{"$ref": f"#/channels/{kind}/messages/{kind}"}],
    }


def _message(kind: Type, example: object) -> dict[str, Any]:
    return {
        "name": kind.value,
        "title": kind.value,
        "summary": _SUMMARIES[kind],
        "contentType": "application/cloudevents+json",
        "payload": _envelope(kind),
        "examples": [{"name": kind.value, "payload": example}],
    }


def _envelope(kind: Type) -> dict[str, Any]:
    """The CloudEvents envelope around one type's data."""
    return {
        "type": "object",
        "required": ["specversion", "id", "type", "source", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "description": "The same for the same event, however often it comes."},
            "type": {"const": kind.value},
            "source": {"type": "string"},
            "subject": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": {"$ref": _REF.format(name=PAYLOADS[kind].__name__)},
        },
    }


def _schemas() -> dict[str, Any]:
    """The schemas of all payloads and of what they name, with patterns as ECMA writes them."""
    payloads = list(dict.fromkeys(PAYLOADS[kind] for kind in TYPES))
    _, schemas = msgspec.json.schema_components(payloads, ref_template=_REF)
    return {name: _ecma(schema) for name, schema in schemas.items()}


def _ecma(value: Any) -> Any:
    match value:
        case {"pattern": str() as pattern, **rest}:
            return {**_ecma(rest), "pattern": pattern.replace(r"\A", "^").replace(r"\Z", "$")}
        case dict():
            return {key: _ecma(one) for key, one in value.items()}
        case list():
            return [_ecma(one) for one in value]
        case _:
            return value


def main(arguments: Sequence[str]) -> int:
    """Print the document; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("python -m scripthut_common.asyncapi FOLDER: a folder with an example of each event\n")
        return 2
    sys.stdout.write(written(Path(arguments[0])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
