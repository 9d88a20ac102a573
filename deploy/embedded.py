"""Run both services in one process, with a private PostgreSQL and the in-process bus, until Ctrl-C.

`make demo` runs it with an example on a cluster without a scheduler, `make run` with your own `clusters.toml`.
"""

import argparse
import asyncio
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog
from prometheus_client import CollectorRegistry

import instances
import private_postgres
import scripthut_outputs.settings
import scripthut_outputs.tables
import scripthut_outputs.wiring
import scripthut_poller.settings
import scripthut_poller.wiring
from instances import Instance
from scripthut_common import migrating, supervision, telemetry
from scripthut_common.bus.memory import MemoryBus
from scripthut_common.database import Database
from scripthut_common.dead_letters import DeadLetters
from scripthut_common.errors import Error
from scripthut_common.supervision import Pulse
from scripthut_outputs.migrations import MIGRATIONS as OUTPUTS_MIGRATIONS
from scripthut_poller.migrations import MIGRATIONS as POLLER_MIGRATIONS

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLES = CHECKOUT / "deploy" / "examples"
_READY_WITHIN_S = 60.0

log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit status."""
    asked = _parser().parse_args(arguments)
    if not asked.example and not asked.clusters.exists():
        print(
            f"scripthut: there is no {asked.clusters}; README shows how to write one (or name yours: CLUSTERS=FILE)",
            file=sys.stderr,
        )
        return 1
    try:
        with (
            instances.take("demo" if asked.example else "run", asked.below.resolve(), asked.port) as instance,
            instance.log_file.open("a", buffering=1) as log,
            private_postgres.running(instance.state) as database_url,
        ):
            telemetry.configure({"SCRIPTHUT_LOG_FORMAT": "text", **os.environ}, log)
            clusters_file = instance.localhost_clusters() if asked.example else asked.clusters.resolve()
            asyncio.run(_serve(instance, database_url, clusters_file, is_example=asked.example))
    except (Error, instances.PortTaken, private_postgres.PostgresFailed) as error:
        print(f"scripthut: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="embedded.py", description="Both services on this machine, for one person.")
    parser.add_argument("--example", action="store_true", help="run the example on this machine, without a cluster")
    parser.add_argument("--clusters", type=Path, default=Path("clusters.toml"), help="your clusters (clusters.toml)")
    parser.add_argument("--below", type=Path, default=CHECKOUT / "var", help="folder to keep everything in (var)")
    parser.add_argument("--port", type=int, help=f"port on 127.0.0.1 (the first free one from {instances.FIRST_PORT})")
    return parser


async def _serve(instance: Instance, database_url: str, clusters_file: Path, *, is_example: bool) -> None:
    """Run both services until a signal; say the address once they answer."""
    stop = asyncio.Event()
    supervision.stop_on_signals(stop)
    database = Database(database_url)
    await migrating.upgrade(database, POLLER_MIGRATIONS)
    await migrating.upgrade(database, OUTPUTS_MIGRATIONS)
    dead_letters = DeadLetters(database, scripthut_outputs.tables.DEAD_LETTERS)
    bus = MemoryBus(bury=dead_letters.bury)
    pulse = Pulse()
    registry = CollectorRegistry()
    poller_settings = _poller_settings(database_url, clusters_file)
    poller = scripthut_poller.wiring.build(poller_settings, bus, pulse, registry=registry)
    settings = _outputs_settings(instance, database_url, clusters_file)
    outputs = scripthut_outputs.wiring.build(settings, bus, pulse, other_checks=poller.checks, registry=registry)
    try:
        async with asyncio.TaskGroup() as group:
            welcome = group.create_task(_welcome(instance, settings, is_example=is_example))
            replaying = group.create_task(_replay(dead_letters, bus))
            await supervision.run([*poller.loops, *outputs.loops], pulse, stop)
            welcome.cancel()
            replaying.cancel()
    finally:
        print("\nstopping…", flush=True)
        await poller.close()
        await outputs.close()
        await bus.close()
        await database.close()


async def _replay(dead_letters: DeadLetters, bus: MemoryBus) -> None:
    """Offer once more what could not be taken: this version may be able to."""
    try:
        taken = await dead_letters.replay(bus.replay)
    except Error as error:
        log.warning("dead_letters_not_replayed", fault=str(error))
    else:
        if taken:
            log.info("dead_letters_replayed", taken=taken)


def _poller_settings(database_url: str, clusters_file: Path) -> scripthut_poller.settings.Settings:
    return scripthut_poller.settings.Settings(database_url=database_url, clusters_file=str(clusters_file))


def _outputs_settings(
    instance: Instance, database_url: str, clusters_file: Path
) -> scripthut_outputs.settings.Settings:
    return scripthut_outputs.settings.Settings(
        database_url=database_url,
        clusters_file=str(clusters_file),
        blobs_url=str(instance.state / "blobs"),
        tokens_file=str(instance.tokens_file),
        listen_port=instance.port,
    )


async def _welcome(instance: Instance, settings: scripthut_outputs.settings.Settings, *, is_example: bool) -> None:
    """Wait until the pages answer, submit the example, print where to look."""
    await asyncio.to_thread(_wait_for, f"{instance.url}/health/live")
    page = "/ui/"
    if is_example:
        page = f"/ui/runs/{await asyncio.to_thread(_submit_example, instance)}"
    login_url = await scripthut_outputs.wiring.login_url(settings)
    print(
        "\nScriptHut Outputs is running. Open this address; it logs your browser in, once:\n\n"
        f"    {login_url}&next={page}\n\n"
        f"API token: {instance.tokens_file}\nLog:       {instance.log_file}\nCtrl-C stops everything.",
        flush=True,
    )


def _wait_for(url: str) -> None:
    """Wait until an address answers at all."""
    request = urllib.request.Request(url)  # noqa: S310  our own loopback address
    for _ in range(int(_READY_WITHIN_S * 10)):
        try:
            with urllib.request.urlopen(request, timeout=1):  # noqa: S310  our own loopback address
                return
        except OSError:
            continue
    raise Error(f"{url} does not answer within {_READY_WITHIN_S:g} s")


def _submit_example(instance: Instance) -> str:
    """Ask for the example run, as any HTTP client would; asking again finds the same run."""
    token = instance.token()
    document = {"run_id": "heat-plate", **msgspec.json.decode((EXAMPLES / "run.json").read_bytes())}
    for task in document["tasks"]:
        task.setdefault("working_dir", str(EXAMPLES))
    request = urllib.request.Request(  # noqa: S310  our own loopback address
        f"{instance.url}/runs",
        data=msgspec.json.encode(document),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  our own loopback address
            return str(msgspec.json.decode(answer.read())["run_id"])
    except urllib.error.HTTPError as error:
        if error.code == 409:
            return str(document["run_id"])
        raise Error(f"the example run was refused: {error.read()[:2000].decode(errors='replace')}") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
