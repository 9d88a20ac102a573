"""Which account is whose: by the same name, a table, or a claim; never one that is no person's."""

import getpass
from collections.abc import Mapping
from typing import Literal

import pytest

from scripthut_common.accounts import account_of, identity_of, is_account, is_services_own
from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind

SAME = Cluster(name="same", scheduler=SchedulerKind.SLURM)
CLAIM = Cluster(name="claim", scheduler=SchedulerKind.SLURM, accounts="claim")
TABLE = Cluster(
    name="table", scheduler=SchedulerKind.SLURM, accounts={"ada@x": "ada", "bob@x": "shared", "cleo@x": "shared"}
)
NO_PERSONS = ["root", "-u", "a;b", "ada\n", "ada\nroot", "", " ada", "#0", "%wheel", "a" * 33, "0ada", "ädä", "nobody"]


def test_somebodys_account_is_found_by_each_way() -> None:
    assert account_of(SAME, "ada") == "ada"
    assert account_of(CLAIM, "ada@x", claimed="lovelace") == "lovelace"
    assert account_of(CLAIM, "ada") is None
    assert account_of(TABLE, "ada@x") == "ada"
    assert account_of(TABLE, "ada") is None


def test_an_accounts_owner_is_found_by_each_way_and_never_guessed() -> None:
    assert identity_of(SAME, "ada") == "ada"
    assert identity_of(CLAIM, "lovelace", claimed_by="ada@x") == "ada@x"
    assert identity_of(CLAIM, "lovelace") == "claim:lovelace"
    assert identity_of(TABLE, "ada") == "ada@x"
    assert identity_of(TABLE, "shared") == "table:shared"
    assert identity_of(TABLE, "dan") == "table:dan"


@pytest.mark.parametrize("name", NO_PERSONS)
def test_what_no_person_can_have_is_nobodys_account(name: str) -> None:
    assert not is_account(name)
    assert account_of(SAME, name) is None
    assert account_of(CLAIM, "ada", claimed=name) is None


@pytest.mark.parametrize("as_whom", [AsWhom.SUDO, AsWhom.CERTIFICATE])
@pytest.mark.parametrize("accounts", ["same", "claim", {"ada@x": "outputs", "outputs": "outputs"}])
def test_the_services_own_account_is_nobodys_where_jobs_run_as_their_owners(
    as_whom: AsWhom, accounts: Literal["same", "claim"] | Mapping[str, str]
) -> None:
    cluster = Cluster(name="daint", scheduler=SchedulerKind.SLURM, as_whom=as_whom, accounts=accounts, user="outputs")

    assert account_of(cluster, "outputs", claimed="outputs") is None
    assert account_of(cluster, "ada@x", claimed="outputs") != "outputs"
    assert identity_of(cluster, "outputs", claimed_by="ada@x") == "daint:outputs"


def test_where_all_run_as_the_service_its_account_is_one_like_others() -> None:
    cluster = Cluster(name="daint", scheduler=SchedulerKind.SLURM, user="outputs")

    assert account_of(cluster, "outputs") == "outputs"
    assert identity_of(cluster, "outputs") == "outputs"


def test_without_a_user_the_services_account_is_that_of_whoever_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(name="daint", scheduler=SchedulerKind.SLURM, as_whom=AsWhom.CERTIFICATE)
    monkeypatch.setenv("LOGNAME", "runner")

    assert getpass.getuser() == "runner"
    assert account_of(cluster, "runner") is None
    assert not is_services_own(cluster, "ada")
