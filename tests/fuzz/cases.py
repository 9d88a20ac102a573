"""What is sent: what Schemathesis makes of the document, right and wrong, with words that lead somewhere mixed in.

Requests are drawn once and sent by everybody: what differs from scene to scene stands in them as a placeholder.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

import hypothesis
import msgspec
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.schemas import APIOperation

from scripthut_outputs.controllers.answers import JSON
from tests.fuzz import scene
from tests.integration.outputs.house import document

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Operation]
_MODES = st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
_CREATE = "POST /runs"
_SURE = {"task_id": "t0", "path": "a.md", "kind": "output"}
_BODIES: Mapping[str, Any] = {
    _CREATE: document(),
    "POST /tokens": {"label": "of a program", "scopes": ["admin"]},
    "PUT /runs/{run_id}/visibility": {"visibility": "private"},
    "POST /runs/{run_id}/shares": {"days": 1},
}


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """One request of an operation, before anybody sends it."""

    operation: Operation
    path_parameters: Mapping[str, str]
    query: Any
    headers: Mapping[str, str]
    body: Any
    media_type: str | None

    @property
    def run_id(self) -> str:
        """The run that it is about; empty where it is about none."""
        return self.path_parameters.get("run_id", "")

    def about(self, run_id: str) -> "Drawn":
        """The same request about another run."""
        return msgspec.structs.replace(self, path_parameters={**self.path_parameters, "run_id": run_id})

    def case(self, words: Mapping[str, str]) -> AnyCase:
        """Write it out, with these words where placeholders stand."""
        query = self.query
        if isinstance(query, dict):
            query = {
                name: words.get(value, value) if isinstance(value, str) else value for name, value in query.items()
            }
        made: AnyCase = self.operation.Case(
            path_parameters={name: words.get(value, value) for name, value in self.path_parameters.items()},
            query=query,
            headers={**self.headers},
            body=self.body,
            media_type=self.media_type,
        )
        return made


def draw_all(written: dict[str, Any], *, count: int, seed: int) -> list[list[Drawn]]:
    """Draw so many requests, at most, of every operation of a document, after some that somebody gets an answer to."""
    found = schemathesis.openapi.from_dict(written)
    operations = [cast("Any", result).ok() for result in found.get_all_operations()]
    return [[*_sure(operation), *_draw(operation, count, seed)] for operation in operations]


def _sure(operation: Operation) -> Iterator[Drawn]:
    """Requests that are right as they are, about runs that are open to somebody besides their owner."""
    for run_id, name in scene.SHOWN.items():
        words = {**_SURE, "run_id": run_id, "share_id": f"share:{run_id}", "token_id": f"token:{name}"}
        takes_path = any(parameter.name == "path" for parameter in operation.query)
        body = _BODIES.get(operation.label)
        yield Drawn(
            operation=operation,
            path_parameters={parameter.name: words[parameter.name] for parameter in operation.path_parameters},
            query={"path": scene.encoded_paths()[0]} if takes_path else {},
            headers={},
            body=NOT_SET if body is None else body,
            media_type=None if body is None else JSON,
        )


def _draw(operation: Operation, count: int, seed: int) -> list[Drawn]:
    drawn: list[Drawn] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_requests(operation))
    def note(one: Drawn) -> None:
        drawn.append(one)

    note()
    return drawn


@st.composite
def _requests(draw: st.DrawFn, operation: Operation) -> Drawn:
    mode = draw(_MODES)
    made: AnyCase = draw(operation.as_strategy(mode))
    path_parameters, query, body = {**made.path_parameters}, made.query, made.body
    for name in (parameter.name for parameter in operation.path_parameters):
        words = _words(name, is_query=False)
        if words and _is_known(draw):
            path_parameters[name] = quote(draw(st.sampled_from(words)))
    for name in (parameter.name for parameter in operation.query):
        words = _words(name, is_query=True)
        if words and isinstance(query, dict):
            query = {**query, **draw(st.sampled_from(_ways(query, name, words)))}
    headers = {**made.headers}
    for name in (parameter.name for parameter in operation.headers):
        words = _words(name.lower(), is_query=False)
        if words and _is_known(draw):
            headers[name] = draw(st.sampled_from(words))
    if operation.label == _CREATE and mode is GenerationMode.POSITIVE and _is_known(draw):
        body = draw(_documents())
    return Drawn(
        operation=operation,
        path_parameters=path_parameters,
        query=query,
        headers=headers,
        body=body,
        media_type=made.media_type,
    )


def _is_known(draw: st.DrawFn) -> bool:
    """Whether a word is one that might lead somewhere: seven of eight are."""
    return draw(st.integers(0, 7)) > 0


def _ways(query: Mapping[str, Any], name: str, words: Sequence[str]) -> list[dict[str, Any]]:
    """What may stand for a parameter: what was made up, if anything, or, as often, one of these words."""
    return [{name: query[name]} if name in query else {}] * len(words) + [{name: word} for word in words]


def _words(name: str, *, is_query: bool) -> Sequence[str]:
    return scene.encoded_paths() if is_query and name == "path" else scene.WORDS.get(name, ())


def _documents() -> st.SearchStrategy[dict[str, Any]]:
    """Run documents most of which may run, under ids that are taken, free, or not given."""
    ids = st.sampled_from([None, *scene.RUN_IDS, *scene.FREE])
    opened: list[dict[str, str]] = [{}, {"visibility": "private"}, {"visibility": "instance"}, {"group": "lattice"}]
    return st.builds(
        lambda run_id, to, cluster, name: document(run_id=run_id, **to) | {"cluster": cluster, "name": name},
        ids,
        st.sampled_from(opened),
        st.sampled_from(["daint", "same", "table", "nowhere"]),
        st.text(max_size=20),
    )
