"""What the shell by certificate does when sshd, the CA or the operator's command are not as they should be."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from scripthut_common.clusters import AsWhom, Certificates, Cluster, SchedulerKind
from scripthut_common.errors import AccountRefused, NoConnection
from scripthut_common.shell import Program
from scripthut_common.shell.accounts import AccountShells
from tests.testbed.accounts import ALICE, BOB, CAROL, another_account
from tests.testbed.sshd import Sshd

WHO = Program(name="who", text="id -un", timeout_s=30)
# As an operator's own: signs with OpenSSH's tools whatever it is told to.
SIGNS = """
set -e
cd "$(mktemp -d)"
ssh-keygen -q -t ed25519 -N '' -f key
ssh-keygen -q -s "$1" -I test -n "$2" -V "$3" key.pub
cat key key-cert.pub
"""


@pytest.fixture
def cluster(own_sshd: Sshd) -> Cluster:
    return Cluster(
        name="testbed",
        scheduler=SchedulerKind.SLURM,
        host=own_sshd.host,
        port=own_sshd.port,
        user=ALICE,
        key_file=str(own_sshd.key(ALICE)),
        known_hosts_file=str(own_sshd.known_hosts),
        as_whom=AsWhom.CERTIFICATE,
        certificates=Certificates(ca_key_file=str(own_sshd.make_authority())),
    )


@asynccontextmanager
async def opened(cluster: Cluster, **certificates: object) -> AsyncIterator[AccountShells]:
    if certificates:
        cluster = msgspec.structs.replace(cluster, certificates=Certificates(**certificates))  # type: ignore[arg-type]
    shells = AccountShells(cluster)
    try:
        yield shells
    finally:
        await shells.close()


async def refusal(cluster: Cluster, account: str, **certificates: object) -> str:
    async with opened(cluster, **certificates) as shells:
        with pytest.raises(AccountRefused) as refused:
            await shells.of(account).run(WHO)
    return str(refused.value)


def signing(cluster: Cluster, principals: str = "{account}", validity: str = "+5m") -> tuple[str, ...]:
    return ("sh", "-c", SIGNS, "sign", str(cluster.certificates.ca_key_file), principals, validity)


async def test_each_account_has_a_certificate_of_its_own(cluster: Cluster, own_sshd: Sshd) -> None:
    async with opened(cluster) as shells:
        said = [(await shells.of(account).run(WHO)).stdout for account in (BOB, CAROL, None)]

    assert said == [f"{account}\n".encode() for account in (BOB, CAROL, ALICE)]
    log = own_sshd.daemon.log.read_text()
    assert f'ID "scripthut testbed {BOB}"' in log or f"ID scripthut testbed {BOB}" in log


async def test_the_operators_command_gives_certificates_too(cluster: Cluster) -> None:
    async with opened(cluster, command=signing(cluster)) as shells:
        assert (await shells.of(BOB).run(WHO)).stdout == f"{BOB}\n".encode()


async def test_a_certificate_that_is_over_is_told_and_a_new_one_is_taken(cluster: Cluster, tmp_path: Path) -> None:
    said = await refusal(cluster, BOB, command=signing(cluster, validity="-10m:-5m"))

    assert f"as {BOB}: no certificate: the certificate is not good for {BOB}: Certificate expired" in said


async def test_a_certificate_for_somebody_else_is_told(cluster: Cluster) -> None:
    said = await refusal(cluster, BOB, command=signing(cluster, principals=CAROL))

    assert f"not good for {BOB}: Certificate principal mismatch" in said


async def test_a_ca_that_the_cluster_does_not_trust_is_told_with_what_to_do(cluster: Cluster, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ca"], check=True)  # noqa: ASYNC221

    said = await refusal(cluster, BOB, ca_key_file=str(tmp_path / "ca"))

    assert f"it does not take our certificate for {BOB}. Its sshd must trust our CA (`TrustedUserCAKeys`)" in said


async def test_nobody_is_the_services_own_account(cluster: Cluster) -> None:
    async with opened(cluster) as shells:
        with pytest.raises(AccountRefused, match=f"no job runs as {ALICE}, the service's own account"):
            await shells.of(ALICE).run(WHO)
        with pytest.raises(AccountRefused, match="the service's own account"):
            async with shells.of(ALICE).stream(WHO):
                pass

        assert shells.commands_run == 0
        assert (await shells.of(None).run(WHO)).stdout == f"{ALICE}\n".encode()


async def test_an_account_that_the_cluster_lacks_is_told(cluster: Cluster) -> None:
    assert "The cluster has no such account" in await refusal(cluster, "nobody-here")


async def test_an_account_that_is_no_persons_runs_nothing(cluster: Cluster) -> None:
    assert "no job runs as 'root'" in await refusal(cluster, "root")
    assert "Its uid, 33, is no person's" in await refusal(cluster, "www-data")


async def test_an_account_that_is_closed_is_told(cluster: Cluster, own_sshd: Sshd) -> None:
    with another_account("/usr/sbin/nologin") as closed:
        own_sshd.let_in(closed)

        assert "the account is closed" in await refusal(cluster, closed)


async def test_an_account_that_is_no_persons_is_refused_though_sshd_lets_it_in(
    cluster: Cluster, own_sshd: Sshd
) -> None:
    with another_account(uid=917) as low:
        own_sshd.let_in(low)

        assert "no job runs as this account (it says: scripthut: uid 917 is no person)" in await refusal(cluster, low)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 3", "sh ended with exit status 3: it said nothing"),
        ("echo no luck >&2; exit 1", "sh ended with exit status 1: no luck"),
        ("echo hello", "it printed no private key"),
        ("yes", "printed more than 65536 bytes"),
    ],
)
async def test_a_command_that_fails_is_told(cluster: Cluster, text: str, reason: str) -> None:
    said = await refusal(cluster, BOB, command=("sh", "-c", text))

    assert reason in said


async def test_a_missing_command_is_told(cluster: Cluster) -> None:
    assert "exit status 127" in await refusal(cluster, BOB, command=("/nowhere/sign", "{account}"))


async def test_a_missing_key_of_the_ca_is_told(cluster: Cluster) -> None:
    said = await refusal(cluster, BOB, ca_key_file="/nowhere/ca")

    assert "no certificate: the CA's key /nowhere/ca cannot be used" in said


async def test_few_connections_are_open_at_a_time_and_each_account_comes_to_its_turn(
    cluster: Cluster, own_sshd: Sshd
) -> None:
    source = cluster.certificates.ca_key_file
    waits = Program(name="waits", text="sleep 0.2; id -un")

    async with opened(cluster, ca_key_file=source, max_connections=1) as shells:
        answers = await asyncio.gather(*(shells.of(account).run(waits) for account in (BOB, CAROL, BOB, CAROL)))
        assert len(shells._pool._shells) == 1

    assert [answer.stdout.decode().strip() for answer in answers] == [BOB, CAROL, BOB, CAROL]


async def test_a_connection_that_was_cut_is_made_again_with_a_new_certificate(cluster: Cluster, own_sshd: Sshd) -> None:
    async with opened(cluster) as shells:
        await shells.of(BOB).run(WHO)
        own_sshd.daemon.restart()
        with suppress(NoConnection):  # the first may find out that it is gone
            await shells.of(BOB).run(WHO)

        assert (await shells.of(BOB).run(WHO)).stdout == f"{BOB}\n".encode()


async def test_what_the_certificate_allows_is_running_programs_alone(cluster: Cluster, tmp_path: Path) -> None:
    async with opened(cluster) as shells, shells._pool.lent(BOB) as shell:
        ((_, certificate),) = await shell._client_keys()
    (tmp_path / "cert.pub").write_bytes(certificate.export_certificate())

    shown = subprocess.run(  # noqa: ASYNC221
        ["ssh-keygen", "-L", "-f", tmp_path / "cert.pub"], check=True, capture_output=True, text=True
    )

    *_, principals = shown.stdout.partition("Principals:")
    assert [line.strip() for line in principals.splitlines() if line.strip()] == [
        BOB,
        "Critical Options: (none)",
        "Extensions: (none)",
    ]
