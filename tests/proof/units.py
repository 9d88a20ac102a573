"""The systemd units under a real systemd, on a machine of their own beside the stack's database, broker and cluster."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.chaos import checking, work
from tests.chaos.checking import Counted
from tests.chaos.work import Folders
from tests.proof import cluster
from tests.proof.commands import CommandFailed, call, say, show
from tests.proof.stack import Stack
from tests.testbed.clients import Client
from tests.testbed.processes import wait_until

_DOCKERFILE = Path(__file__).parent / "standins" / "units.Dockerfile"
_UNITS = ("scripthut-poller", "scripthut-outputs-api", "scripthut-outputs-collector")
# One of the inside network that Compose is far from giving out.
_ADDRESS = "172.30.84.200"
_OPENED = ("seccomp", "apparmor", "systempaths")
_TASKS = 8
_PATIENCE_S = 240.0
# All that systemd does, and no more than a machine may have that is a container itself.
_RIGHTS = ("--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", *(f"--security-opt={name}=unconfined" for name in _OPENED))
_MOUNTS = ("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup")
# In words of systemd, what a unit that was started and stopped has come to.
_WELL = {"ActiveState": "inactive", "Result": "success", "ExecMainStatus": "0", "NRestarts": "0"}


def prove(stack: Stack, image: str, dice: random.Random) -> list[str]:
    """Start the units, let a run pass through them, stop them; say what was not as it should be."""
    stack.compose("stop", *("outputs-api", "collector", "poller"))
    with _machine(stack, image) as machine:
        show([*machine, "systemctl", "start", *_UNITS])
        for unit in ("scripthut-migrate", *_UNITS):
            say(f"{unit}: exposure {_exposure(machine, unit)}")
        with _client(machine) as client:
            faults = _run(stack, client, dice)
        show([*machine, "systemctl", "stop", *_UNITS])
        ended = {unit: _properties(machine, unit, _WELL) for unit in _UNITS}
    return faults + [f"{unit} is {found}" for unit, found in ended.items() if found != _WELL]


@contextmanager
def _machine(stack: Stack, image: str) -> Iterator[list[str]]:
    """Start the machine; gives the words before a command that runs on it."""
    name, context = f"{stack.project}-units", stack.folder / "units"
    shutil.copytree(stack.copy / "deploy" / "systemd", context / "systemd")
    building = ["docker", "build", "--build-arg", f"SERVICES={image}", "--tag", f"{stack.project}/units"]
    call([*building, "--file", _DOCKERFILE, context])
    config = stack.folder / "config"
    (config / "secrets").mkdir()
    told = {"LISTEN_HOST": "0.0.0.0", "ALLOWED_HOSTS": _ADDRESS}
    (config / "environment").write_text("".join(f"SCRIPTHUT_OUTPUTS_{key}={text}\n" for key, text in told.items()))
    given = ["--volume", f"{config}:/etc/scripthut:ro", "--volume", f"{stack.folder}/secrets:/etc/scripthut/secrets:ro"]
    words = ["docker", "run", "--detach", "--name", name, "--network", f"{stack.project}_inside", "--ip", _ADDRESS]
    machine = ["docker", "exec", name]
    try:
        call([*words, *_RIGHTS, *_MOUNTS, *given, f"{stack.project}/units"])
        wait_until(lambda: _is_up(machine), "systemd to be up", 60, every_s=0.5)
        yield machine
    except Exception as error:
        with suppress(CommandFailed):
            error.add_note(call([*machine, "journalctl", "--no-pager", "--lines", "60"]))
        raise
    finally:
        call(["docker", "rm", "--force", "--volumes", name])


def _is_up(machine: list[str]) -> bool:
    """`degraded`: in a container some of a machine's own units cannot work."""
    try:
        return call([*machine, "sh", "-c", "systemctl is-system-running || true"]).strip() in {"running", "degraded"}
    except CommandFailed:
        return False


def _client(machine: list[str]) -> Client:
    """Call the API as the person whom the tokens file names first."""
    tokens = [*machine, "cat", "/var/lib/scripthut/door/tokens"]
    wait_until(lambda: _succeeds(tokens), "the tokens file", 60, every_s=0.5)
    token = next(line.split()[2] for line in call(tokens).splitlines() if not line.startswith("#"))
    return Client(f"http://{_ADDRESS}:8080", token)


def _succeeds(argv: list[str]) -> bool:
    try:
        call(argv)
    except CommandFailed:
        return False
    return True


def _run(stack: Stack, client: Client, dice: random.Random) -> list[str]:
    """Have every kind of task run, watched, collected and served by what systemd keeps in."""
    folders = Folders(notes=stack.work / cluster.NOTES, log_dir=stack.work / "scripthut")
    one = work.undisturbed(dice, f"units-{dice.randrange(10**6):06d}", _TASKS, folders)
    wait_until(lambda: _answers(client), "the API to answer", 60, every_s=0.5)
    client.submit(one.document)
    run = client.wait_run(
        one.run_id, lambda run: checking.is_over(one, run), f"{one.run_id} to be collected", _PATIENCE_S
    )
    counted = Counted()
    faults = checking.check_run(client, one, run, counted)
    say(f"under systemd: {counted.items} tasks, {counted.files} files compared")
    return faults


def _answers(client: Client) -> bool:
    try:
        return client.get("/health/ready").is_success
    except httpx.HTTPError:
        return False


def _exposure(machine: list[str], unit: str) -> str:
    """Read systemd's own figure: `→ Overall exposure level for scripthut-poller.service: 1.1 OK`."""
    told = call([*machine, "systemd-analyze", "security", "--no-pager", f"{unit}.service"])
    return next(line.rpartition(": ")[2] for line in told.splitlines() if "Overall exposure level" in line)


def _properties(machine: list[str], unit: str, names: dict[str, str]) -> dict[str, str]:
    told = call([*machine, "systemctl", "show", "--property", ",".join(names), f"{unit}.service"])
    return dict(line.split("=", 1) for line in told.splitlines())
