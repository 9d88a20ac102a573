"""Who has a name: by the tokens file, or by the word of others, which is no word on the names of that file."""

from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from scripthut_outputs.access import Role
from scripthut_outputs.access.directory import Directory
from scripthut_outputs.access.policy import Policy
from scripthut_outputs.access.tokens import Tokens
from scripthut_outputs.catalog.identities import Identities, Identity

ISSUER = "https://login.example.org"
OTHERS = ("session", "jwt", "proxy")


class Known:
    """The identities, all of them people whom others vouched for."""

    async def find(self, name: str) -> Identity:
        return Identity(
            name=name,
            issuer=ISSUER,
            subject="u1",
            groups=frozenset(),
            account=None,
            seen_at=datetime(2026, 1, 2, tzinfo=UTC),
            disabled_at=None,
            sessions_since=None,
        )


def directory(tmp_path: Path, policy: Policy, *names: str) -> Directory:
    path = tmp_path / "tokens"
    path.write_text("".join(f"{name} admin token-of-{name}-0123456789\n" for name in ("root", *names)))
    return Directory(Tokens(path), cast("Identities", Known()), lambda: policy)


@pytest.mark.parametrize("credential", OTHERS)
async def test_who_had_a_name_before_it_stood_in_the_tokens_file_is_not_who_has_the_line(
    tmp_path: Path, credential: str
) -> None:
    before, after = directory(tmp_path, Policy()), directory(tmp_path, Policy(), "max")

    known = await before.actor("max", credential=credential, is_told=True)

    assert known is not None
    assert known.role is Role.USER
    assert await after.actor("max", credential=credential, is_told=True) is None


@pytest.mark.parametrize("credential", OTHERS)
async def test_they_are_one_person_where_the_access_file_says_so(tmp_path: Path, credential: str) -> None:
    trusting = directory(tmp_path, Policy(trusts_listed_names=True), "max")

    known = await trusting.actor("max", credential=credential, is_told=True)

    assert known is not None
    assert known.role is Role.ADMIN


async def test_whoever_has_the_line_comes_in_by_it(tmp_path: Path) -> None:
    known = await directory(tmp_path, Policy(), "max").actor("max", credential="file")

    assert known is not None
    assert known.role is Role.ADMIN
