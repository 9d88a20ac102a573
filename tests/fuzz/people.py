"""Who asks, and what each may have: written by hand, so that nothing of the service has a say in it."""

from collections.abc import Iterator

import msgspec

from tests.integration.outputs import placing

# What a credential must be good for.
SCOPES = {
    placing.LIST: "read",
    placing.READ: "read",
    placing.CREATE: "submit",
    placing.SUBMIT: "submit",
    placing.COLLECT: "collect",
    placing.SHARE: "admin",
    placing.TOKENS: "admin",
    placing.ADMIN: "admin",
}
EVERYTHING = frozenset(SCOPES.values())
# Who is what: ben is he whose runs others are after, mia is in his group `lattice`, otto is in none.
NAMES = ("ada", "ben", "mia", "otto", "root")
ADMIN = "root"
GROUPS = {"lattice": ("ben", "mia"), "qcd": ("ben",)}


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is there before anybody asks. `readers`: who may read it besides admins."""

    run_id: str
    owner: str
    visibility: str
    group: str | None
    readers: frozenset[str]


# y: may read it. Admins may read all, and all that is not written may be read by nobody.
RUNS = """
run             visibility group    ada mia otto guest
adas-private    private    -        y   -   -    -
adas-shared     private    -        y   -   -    y
adas-group      group      lattice  y   y   -    -
adas-open       instance   -        y   y   y    -
adas-asked      private    -        y   -   -    -
bens-private    private    -        -   -   -    -
bens-group      group      lattice  -   y   -    -
bens-qcd        group      qcd      -   -   -    -
bens-open       instance   -        y   y   y    -
bens-odd        public     lattice  -   -   -    -
mias-private    private    -        -   y   -    -
"""


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who asks.

    Args:
        role: how reports call them.
        name: whose runs are theirs; of a guest, a word for whoever has the link.
        scopes: what they showed is good for.
    """

    role: str
    name: str
    scopes: frozenset[str] = EVERYTHING

    @property
    def is_admin(self) -> bool:
        """Whether they may do everything that their scopes let them."""
        return self.name == ADMIN


GUEST = "guest"
STRANGER = "stranger"
# Somebody whose token nobody gave them: what needs none is not theirs either.
FORGER = "forger"
WHO = {
    one.role: one
    for one in (
        Who(role=STRANGER, name="", scopes=frozenset()),
        Who(role=FORGER, name="", scopes=frozenset()),
        Who(role="owner", name="ada"),
        Who(role="session", name="ada"),
        Who(role="member", name="mia"),
        Who(role="other", name="otto"),
        Who(role=GUEST, name=GUEST, scopes=frozenset({"read"})),
        Who(role="admin", name=ADMIN),
        Who(role="admin-read", name=ADMIN, scopes=frozenset({"read"})),
        *(Who(role=f"token-{scope}", name="ada", scopes=frozenset({scope})) for scope in sorted(EVERYTHING)),
    )
}


def kept() -> Iterator[Kept]:
    """Every run of the table."""
    head, *lines = (line.split() for line in RUNS.strip().splitlines())
    for run_id, visibility, group, *cells in lines:
        readers = {name for name, cell in zip(head[3:], cells, strict=True) if cell == "y"}
        yield Kept(
            run_id=run_id,
            owner=run_id.partition("-")[0].removesuffix("s"),
            visibility=visibility,
            group=None if group == "-" else group,
            readers=frozenset(readers),
        )


def may_read(who: Who, run: Kept) -> bool:
    """Whether somebody may read a run, by the table."""
    return "read" in who.scopes and (who.is_admin or who.name in run.readers)


def may_change(who: Who, run: Kept) -> bool:
    """Whether a run is somebody's to change, as far as their scopes go."""
    return who.is_admin or who.name == run.owner
