"""The servers that tests ask for by name: a given one, else one from this machine's packages, else a container.

`SCRIPTHUT_TEST_POSTGRES_URL` and `SCRIPTHUT_TEST_AMQP_URL` (with its management interface on port 15672) name
servers that run already. `SCRIPTHUT_TEST_CONTAINERS=true` asks for containers where packages are there as well;
`SCRIPTHUT_TEST_POSTGRES_IMAGE` and `SCRIPTHUT_TEST_RABBITMQ_IMAGE` say of which images. A server that cannot be had
skips the test and says why; under `CI=true` it fails it.

Session-wide servers are shared: a test may stop, kill or pause their daemons, and what it leaves down is started
again after it.
"""

import os
import secrets
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.testbed import needs, s3
from tests.testbed.browser import Browser, open_browser
from tests.testbed.containers import NoDockerError, postgres_container, rabbitmq_container
from tests.testbed.databases import Databases
from tests.testbed.oidc import OidcProvider
from tests.testbed.pbs import PbsCluster
from tests.testbed.postgres import PostgresServer
from tests.testbed.processes import Daemon
from tests.testbed.rabbitmq import RabbitMq
from tests.testbed.s3 import S3Server
from tests.testbed.services import Pair
from tests.testbed.slurm import SlurmCluster
from tests.testbed.sshd import Sshd
from tests.testbed.vhosts import Vhosts


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the pairs that a failed test used."""
    report = yield
    if report.failed:
        pairs = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Pair)]
        report.sections += [("logs of the pair", pair.logs()) for pair in pairs]
    return report


@pytest.fixture(scope="session")
def slurm(shared_daemons: list[Daemon]) -> Iterator[SlurmCluster]:
    """A Slurm cluster of two nodes with accounting."""
    _require(needs.lacking_for_slurm())
    with SlurmCluster() as cluster:
        shared_daemons += cluster.daemons
        yield cluster


@pytest.fixture(scope="session")
def sshd(slurm: SlurmCluster, shared_daemons: list[Daemon]) -> Iterator[Sshd]:
    """The login node of the Slurm cluster."""
    with Sshd(slurm.environment) as server:
        shared_daemons.append(server.daemon)
        yield server


@pytest.fixture(scope="session")
def shared_pbs(shared_daemons: list[Daemon]) -> Iterator[PbsCluster]:
    """A stand-in for PBS."""
    _require(needs.lacking_for_pbs())
    with PbsCluster() as cluster:
        shared_daemons += cluster.daemons
        yield cluster


@pytest.fixture
def pbs(shared_pbs: PbsCluster, shared_daemons: list[Daemon]) -> Iterator[PbsCluster]:
    """The same with its history on; what a test did to it is mended."""
    yield shared_pbs
    _mend(shared_daemons)
    shared_pbs.set(history=True, query_other_jobs=True)


@pytest.fixture(scope="session")
def pbs_login(shared_pbs: PbsCluster, shared_daemons: list[Daemon]) -> Iterator[Sshd]:
    """The login node of the stand-in for PBS."""
    with Sshd(shared_pbs.environment) as server:
        shared_daemons.append(server.daemon)
        yield server


@pytest.fixture
def own_sshd() -> Iterator[Sshd]:
    """An SSH server of this test alone, without a scheduler, to change as it likes."""
    _require(needs.lacking_for_sshd())
    with Sshd() as server:
        yield server


@pytest.fixture(scope="session")
def with_sudo() -> None:
    """Say that a test makes rules for sudo."""
    _require(needs.lacking_for_sudo())


@pytest.fixture(scope="session")
def rabbitmq(shared_daemons: list[Daemon]) -> Iterator[RabbitMq]:
    """A broker from this machine's packages, for tests that stop or kill it."""
    _require(needs.lacking_for_rabbitmq())
    with RabbitMq() as broker:
        shared_daemons.append(broker.daemon)
        yield broker


@pytest.fixture(scope="session")
def vhosts(request: pytest.FixtureRequest) -> Iterator[Vhosts]:
    """The virtual hosts of whichever broker there is."""
    given = os.environ.get("SCRIPTHUT_TEST_AMQP_URL")
    lacking = _containers_asked_for() or needs.lacking_for_rabbitmq()
    if given:
        yield Vhosts(given, 15672)
    elif not lacking:
        broker: RabbitMq = request.getfixturevalue("rabbitmq")
        yield broker.vhosts
    else:
        try:
            with rabbitmq_container() as found:
                yield found
        except NoDockerError as error:
            _require(f"{lacking}; {error}")


@pytest.fixture
def amqp_uri(vhosts: Vhosts, shared_daemons: list[Daemon]) -> Iterator[str]:
    """An empty virtual host of this test alone."""
    name = f"t{secrets.token_hex(6)}"
    yield vhosts.create(name)
    _mend(shared_daemons)
    vhosts.delete(name)


@pytest.fixture(scope="session")
def postgres(shared_daemons: list[Daemon]) -> Iterator[PostgresServer]:
    """A database server of our own, for tests that stop or kill it."""
    _require(needs.lacking_for_postgres())
    with PostgresServer() as server:
        shared_daemons.append(server.daemon)
        yield server


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    """The databases of whichever PostgreSQL there is."""
    given = os.environ.get("SCRIPTHUT_TEST_POSTGRES_URL")
    lacking = _containers_asked_for() or needs.lacking_for_postgres()
    if given:
        yield Databases(given)
    elif not lacking:
        server: PostgresServer = request.getfixturevalue("postgres")
        yield server.databases
    else:
        try:
            with postgres_container() as uri:
                yield Databases(uri)
        except NoDockerError as error:
            _require(f"{lacking}; {error}")


@pytest.fixture(scope="session")
def database_template() -> str:
    """What the database of a test is copied from; rooms whose tests all need a schema have one with it."""
    return "template1"


@pytest.fixture
def database_uri(databases: Databases, database_template: str, shared_daemons: list[Daemon]) -> Iterator[str]:
    """An empty database of this test alone."""
    uri = databases.create(database_template)
    yield uri
    _mend(shared_daemons)
    databases.drop(uri)


@pytest.fixture(scope="session")
def s3_server(shared_daemons: list[Daemon]) -> Iterator[S3Server]:
    """An S3-compatible store; what a test left down is empty when it is up again."""
    _require(s3.lacking())
    with S3Server() as server:
        shared_daemons.append(server.daemon)
        yield server


@pytest.fixture(scope="session")
def with_browser() -> None:
    """Say that a test opens pages in Chromium."""
    _require(needs.lacking_for_browser())


@pytest.fixture
async def browser(with_browser: None) -> AsyncIterator[Browser]:
    """Headless Chromium; `async with browser.visit() as visit` opens a page in a new profile."""
    async with open_browser() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def oidc_providers() -> Iterator[Callable[[str], OidcProvider]]:
    """Give an OpenID provider that sends browsers back to an address, the same for the same one."""
    _require(needs.lacking_for_oidc())
    with ExitStack() as started:
        yield cache(lambda redirect: started.enter_context(OidcProvider(redirect)))


@pytest.fixture(scope="session")
def shared_daemons() -> list[Daemon]:
    """What the tests share, in the order in which it must be started."""
    return []


@pytest.fixture(autouse=True)
def _mended(shared_daemons: list[Daemon]) -> Iterator[None]:
    """Let the next test find every shared server up."""
    yield
    _mend(shared_daemons)


def _mend(daemons: list[Daemon]) -> None:
    for daemon in daemons:
        daemon.mend()


def _containers_asked_for() -> str:
    return "containers are asked for" if os.environ.get("SCRIPTHUT_TEST_CONTAINERS") == "true" else ""


def _require(lacking: str) -> None:
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
