"""As whom a run's outputs are read, and whose files may be among them."""

from itertools import product
from typing import Any

import msgspec
import pytest

from scripthut_common.clusters import AsWhom, Cluster, SchedulerKind
from scripthut_outputs.owning import Refused, Run, Stranger, Whose, decide, explain, is_in_place

MODES = tuple(AsWhom)
TABLE = {"ada@uni": "ada", "ben@uni": "ben"}
PATHS: dict[str, Any] = {
    "output_dir": "/l/outputs/r/t",
    "run_summary_path": "/l/outputs/r/_run/t.md",
    "stdout_path": "/l/scripthut_r_t.out",
    "stderr_path": "/l/scripthut_r_t.err",
}


def cluster(mode: AsWhom, accounts: object = TABLE) -> Cluster:
    return msgspec.convert(
        {"name": "daint", "scheduler": SchedulerKind.SLURM, "as_whom": mode, "accounts": accounts}, Cluster
    )


def expected(mode: AsWhom, told: str | None, owner: str, *, is_requested: bool, is_placed: bool) -> tuple[object, ...]:
    """The truth, written once more: reader, account and whether the service's own files count; empty when refused."""
    theirs = {"ada@uni": "ada", "daint:carol": told if told == "carol" else None}.get(owner)
    if told is not None and told != theirs:
        return ()
    account = told if is_requested else theirs
    if account is None:
        return (None, None, True) if is_placed else ()
    if mode is AsWhom.SERVICE:
        return (None, account, is_placed)
    return (account, account, False)


@pytest.mark.parametrize(
    ("mode", "told", "owner", "is_requested", "is_placed"),
    list(product(MODES, ("ada", "ben", "carol", None), ("ada@uni", "stranger", "daint:carol"), *[(False, True)] * 2)),
)
def test_every_combination(mode: AsWhom, told: str | None, owner: str, *, is_requested: bool, is_placed: bool) -> None:
    run = Run(owner=owner, account=told, is_requested=is_requested)

    decided = decide(cluster(mode), run, is_in_place=is_placed)

    truth = expected(mode, told, owner, is_requested=is_requested, is_placed=is_placed)
    found = () if isinstance(decided, Refused) else (decided.reader, decided.account, decided.is_services)
    assert found == truth


@pytest.mark.parametrize("mode", MODES)
def test_nobody_is_read_as_another_whatever_an_event_says(mode: AsWhom) -> None:
    for told, owner in product(("ada", "ben", "root", "", "-x", None), ("ada@uni", "nobody", "root", "daint:root")):
        decided = decide(cluster(mode, "same"), Run(owner=owner, account=told), is_in_place=True)

        assert isinstance(decided, Refused) or decided.reader is None


@pytest.mark.parametrize("name", ["root", "", "-u", "a b", "ada\n", "ada;id"])
@pytest.mark.parametrize("mode", MODES)
def test_a_name_that_is_no_person_s_account_is_nobody_s(mode: AsWhom, name: str) -> None:
    for owner, told in ((name, None), (f"daint:{name}", name), ("x", None)):
        decided = decide(cluster(mode, "same"), Run(owner=owner, account=told), is_in_place=False)

        assert isinstance(decided, Refused) or decided.account == "x"


def test_what_somebody_vouches_for_counts_where_accounts_are_claimed() -> None:
    run = Run(owner="ada@uni", claimed="ada7")

    assert decide(cluster(AsWhom.SUDO, "claim"), run, is_in_place=False) == Whose(
        reader="ada7", account="ada7", owner="ada@uni"
    )
    assert decide(cluster(AsWhom.SUDO), run, is_in_place=False) == Whose(reader="ada", account="ada", owner="ada@uni")


def test_a_run_whose_owner_has_another_account_by_now_is_refused_with_both_names() -> None:
    refused = decide(cluster(AsWhom.SUDO), Run(owner="ada@uni", account="ben", is_requested=True), is_in_place=True)

    assert isinstance(refused, Refused)
    assert "ran as the account ben, but the run is ada@uni's, whose account there is ada" in refused.reason


def test_a_run_is_in_place_where_it_was_put_and_nowhere_else() -> None:
    assert is_in_place("r", "t", **PATHS)
    assert is_in_place("r", "t", **(PATHS | {"run_summary_path": None, "stderr_path": None}))
    assert is_in_place("r", "t", output_dir="/outputs/r/t", run_summary_path=None, stdout_path=None, stderr_path=None)


@pytest.mark.parametrize(
    "change",
    [
        {"output_dir": "/l/outputs/other/t"},
        {"output_dir": "/l/xoutputs/r/t"},
        {"output_dir": "/l/outputs/r/t/"},
        {"run_summary_path": "/l/outputs/other/_run/t.md"},
        {"stdout_path": "/l/scripthut_other_t.out"},
        {"stdout_path": "/elsewhere/scripthut_r_t.out"},
        {"stdout_path": "/l/scripthut_r_t.err"},
        {"stderr_path": "/etc/passwd"},
    ],
)
def test_one_path_elsewhere_and_a_run_is_not_in_place(change: dict[str, str | None]) -> None:
    assert not is_in_place("r", "t", **(PATHS | change))


def test_a_refusal_names_both_and_nothing_that_cannot_be_printed() -> None:
    whose = Whose(account="ada", owner="ada\x1b[2J@uni")

    told = explain(cluster(AsWhom.SERVICE), whose, Stranger(uid=1002, name="ben\n"))
    unknown = explain(cluster(AsWhom.SERVICE), whose, Stranger())

    assert told.isprintable()
    assert "belongs to the account ben?, but the run is ada?[2J@uni's, whose account there is ada" in told
    assert unknown.startswith("the cluster has no account ada")
    assert "uid 7" in explain(cluster(AsWhom.SERVICE), whose, Stranger(uid=7))
