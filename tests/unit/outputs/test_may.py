"""Who may do what, as a table: rows are actors, columns what they ask for."""

import itertools

import msgspec
import pytest

from scripthut_outputs.access import ALL_SCOPES, Action, Actor, Role, Scope, Visibility
from scripthut_outputs.access.may import NEEDED, may
from tests.unit.outputs.runs_and_actors import a_run

ANN = Actor(name="ann", role=Role.USER)
PEOPLE = {
    "owner": ANN,
    "member": Actor(name="mia", role=Role.USER, groups=frozenset({"lattice", "plasma"})),
    "other": Actor(name="otto", role=Role.USER, groups=frozenset({"optics"})),
    "other with a link": Actor(name="otto", role=Role.USER, shared={"r1": "s1"}),
    "admin": Actor(name="root", role=Role.ADMIN),
    "guest": Actor(name="share:s1", role=Role.GUEST, scopes=frozenset({Scope.READ}), shared={"r1": "s1"}),
    "guest elsewhere": Actor(name="share:s2", role=Role.GUEST, scopes=frozenset({Scope.READ}), shared={"r2": "s2"}),
    "nobody": None,
}
RUNS = {
    "private": a_run(owner="ann"),
    "group": a_run(owner="ann", visibility="group", group="lattice"),
    "instance": a_run(owner="ann", visibility="instance"),
    # A word of a later version, and a group without the word: nobody reads more for them.
    "unknown": a_run(owner="ann", visibility="planet", group="lattice"),
    "closed group": a_run(owner="ann", visibility="private", group="lattice"),
    "no group": a_run(owner="ann", visibility="group", group=None),
}
# R: may read it. W: may cancel, collect, pin and share it too. A dot: nothing.
OF_RUNS = """
                    private  group  instance  unknown  closed_group  no_group
owner               RW       RW     RW        RW       RW            RW
member              .        R      R         .        .             .
other               .        .      R         .        .             .
other_with_a_link   R        R      R         R        R             R
admin               RW       RW     RW        RW       RW            RW
guest               R        R      R         R        R             R
guest_elsewhere     .        .      .         .        .             .
nobody              .        .      .         .        .             .
"""
# Y: may. A dot: may not.
ELSEWHERE = """
                    enter  create_run  list_runs  read_clusters  read_schema  manage_tokens  read_metrics  administer
owner               Y      Y           Y          Y              Y            Y              .             .
member              Y      Y           Y          Y              Y            Y              .             .
other               Y      Y           Y          Y              Y            Y              .             .
other_with_a_link   Y      Y           Y          Y              Y            Y              .             .
admin               Y      Y           Y          Y              Y            Y              Y             Y
guest               Y      .           .          .              .            .              .             .
guest_elsewhere     Y      .           .          .              .            .              .             .
nobody              Y      .           .          .              .            .              .             .
"""
# What a credential of each scope alone is good for, in the hands of the run's owner, who is an admin.
OF_SCOPES = """
                read  collect  submit  admin
enter           Y     Y        Y       Y
list_runs       Y     .        .       .
read_run        Y     .        .       .
read_clusters   Y     .        .       .
read_schema     Y     .        .       .
collect_again   .     Y        .       .
pin_run         .     Y        .       .
create_run      .     .        Y       .
cancel_run      .     .        Y       .
share_run       .     .        .       Y
manage_tokens   .     .        .       Y
read_metrics    .     .        .       Y
administer      .     .        .       Y
"""
WRITING = {Action.CANCEL_RUN, Action.COLLECT_AGAIN, Action.PIN_RUN, Action.SHARE_RUN}


def table(written: str) -> list[tuple[str, str, str]]:
    head, *lines = (line.split() for line in written.strip().splitlines())
    return [
        (row.replace("_", " "), name, cell) for row, *cells in lines for name, cell in zip(head, cells, strict=True)
    ]


@pytest.mark.parametrize(("who", "run", "cell"), table(OF_RUNS))
def test_what_somebody_may_with_a_run(who: str, run: str, cell: str) -> None:
    actor, found = PEOPLE[who], RUNS[run.replace("_", " ")]

    assert may(actor, Action.READ_RUN, found) is ("R" in cell)
    for action in WRITING:
        assert may(actor, action, found) is ("W" in cell), action


@pytest.mark.parametrize(("who", "action", "cell"), table(ELSEWHERE))
def test_what_somebody_may_apart_from_runs(who: str, action: str, cell: str) -> None:
    assert may(PEOPLE[who], Action(action)) is (cell == "Y")


@pytest.mark.parametrize(("action", "scope", "cell"), table(OF_SCOPES))
def test_what_a_credential_is_good_for(action: str, scope: str, cell: str) -> None:
    of_one = Actor(name="ann", role=Role.ADMIN, scopes=frozenset({Scope(scope)}))

    assert may(of_one, Action(action.replace(" ", "_")), RUNS["private"]) is (cell == "Y")


def test_the_tables_name_every_action_visibility_and_role() -> None:
    of_scopes = {action.replace(" ", "_") for action, _, _ in table(OF_SCOPES)}
    elsewhere = {action for _, action, _ in table(ELSEWHERE)}

    assert of_scopes == set(Action)
    assert elsewhere | WRITING | {Action.READ_RUN} == set(Action)
    assert set(Visibility) <= RUNS.keys()
    assert {actor.role for actor in PEOPLE.values() if actor} == set(Role)
    assert NEEDED.keys() == set(Action) - {Action.ENTER}


def test_fewer_scopes_never_allow_more() -> None:
    for actor, run, action in itertools.product(PEOPLE.values(), [None, *RUNS.values()], Action):
        if actor is not None:
            for count in range(len(ALL_SCOPES)):
                for scopes in itertools.combinations(ALL_SCOPES, count):
                    less = msgspec.structs.replace(actor, scopes=actor.scopes & frozenset(scopes))
                    assert may(actor, action, run) or not may(less, action, run)


@pytest.mark.parametrize("who", [who for who, actor in PEOPLE.items() if actor and actor.role is not Role.ADMIN])
def test_without_a_run_nobody_may_what_needs_one(who: str) -> None:
    assert not any(may(PEOPLE[who], action) for action in (*WRITING, Action.READ_RUN))
