"""What an operator may do with messages that could not be taken, on a real RabbitMQ and by both services' commands."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from scripthut_common.bus import EVENTS, OUTPUTS_EVENTS, POLLER_ANNOUNCEMENTS, DeadLetter, Disposal, Message, Queue
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.errors import BadMessage
from tests.contract.test_bus import RULES, Taken, consuming

SHOWN_OFTEN = 25
SERVICES = {"scripthut_outputs": OUTPUTS_EVENTS, "scripthut_poller": POLLER_ANNOUNCEMENTS}
_HOSTILE = b'{"name": "\x1b[2J\xff\n; rm -rf ~"}'


def message(id_: str, body: bytes = b"{}") -> Message:
    return Message(id=id_, exchange=EVENTS, routing_key="item.submitted.daint", body=body, mandatory=True)


async def bury(uri: str, queue: Queue, ids: Sequence[str], body: bytes = b"{}") -> None:
    """Have a consumer of this queue refuse these messages for ever."""
    refusing = Taken(lambda told, _: BadMessage(f"cannot read {told.id}"))
    bus = AmqpBus(uri, rules=RULES, queues=[queue])
    async with consuming(bus, (queue, refusing.take)):
        for id_ in ids:
            await bus.publish(message(id_, body))
        while len(await lying(uri, queue)) < len(ids):
            pass


async def lying(uri: str, queue: Queue) -> list[DeadLetter]:
    """What lies there, left as it is."""
    found: list[DeadLetter] = []

    def keep(letter: DeadLetter) -> Disposal:
        found.append(letter)
        return Disposal.KEEP

    bus = AmqpBus(uri, queues=[queue])
    try:
        await bus.go_through(queue, keep)
    finally:
        await bus.close()
    return found


def command(package: str, uri: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a service's command to its end."""
    prefix = package.upper()
    return subprocess.run(
        [sys.executable, "-m", package, "dead-letters", *arguments],
        env={**os.environ, f"{prefix}_AMQP_URL": uri},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_what_is_looked_at_stays_in_order_however_often(amqp_uri: str) -> None:
    await bury(amqp_uri, OUTPUTS_EVENTS, ["a", "b", "c"])

    for _ in range(SHOWN_OFTEN):
        found = await lying(amqp_uri, OUTPUTS_EVENTS)

        assert [(letter.message.id, letter.reason) for letter in found] == [
            (id_, f"cannot read {id_}") for id_ in "abc"
        ]
        assert found[0].message.routing_key == "item.submitted.daint"
        assert found[0].buried_at is not None


async def test_what_is_replayed_reaches_its_own_queue_alone_and_lies_there_no_more(amqp_uri: str) -> None:
    other = Queue(name="t.other", exchange=EVENTS, bindings=("item.#",))
    await bury(amqp_uri, OUTPUTS_EVENTS, ["a", "b"])
    bus, taken, elsewhere = AmqpBus(amqp_uri, queues=[OUTPUTS_EVENTS, other]), Taken(), Taken()

    async with consuming(bus, (OUTPUTS_EVENTS, taken.take), (other, elsewhere.take)):
        await bus.go_through(
            OUTPUTS_EVENTS, lambda letter: Disposal.REPLAY if letter.message.id == "b" else Disposal.KEEP
        )
        assert await taken.wait_for(1) == ["b"]

    assert elsewhere.ids == []
    assert [letter.message.id for letter in await lying(amqp_uri, OUTPUTS_EVENTS)] == ["a"]


async def test_what_fails_again_lies_there_again(amqp_uri: str) -> None:
    await bury(amqp_uri, OUTPUTS_EVENTS, ["a"])

    assert command("scripthut_outputs", amqp_uri, "replay", "a").returncode == 0
    assert await lying(amqp_uri, OUTPUTS_EVENTS) == []
    await bury(amqp_uri, OUTPUTS_EVENTS, [])
    refusing = Taken(lambda told, _: BadMessage(f"still cannot read {told.id}"))
    bus = AmqpBus(amqp_uri, rules=RULES)
    async with consuming(bus, (OUTPUTS_EVENTS, refusing.take)):
        while not (found := await lying(amqp_uri, OUTPUTS_EVENTS)):
            pass

    assert [letter.reason for letter in found] == ["still cannot read a"]


async def test_what_is_refused_at_once_is_replayed_once(amqp_uri: str) -> None:
    ids = [f"m{number}" for number in range(50)]
    await bury(amqp_uri, OUTPUTS_EVENTS, ids)
    refusing = Taken(lambda told, _: BadMessage(f"still cannot read {told.id}"))
    bus, shown = AmqpBus(amqp_uri, rules=RULES), Counter[str]()

    def replay(letter: DeadLetter) -> Disposal:
        shown[letter.message.id] += 1
        return Disposal.REPLAY

    async with consuming(bus, (OUTPUTS_EVENTS, refusing.take)):
        await bus.go_through(OUTPUTS_EVENTS, replay)
        while len(found := await lying(amqp_uri, OUTPUTS_EVENTS)) < len(ids):
            pass

    assert shown == Counter(ids)
    assert {letter.reason for letter in found} == {f"still cannot read {id_}" for id_ in ids}


@pytest.mark.parametrize("package", SERVICES)
async def test_the_command_lists_shows_and_drops(amqp_uri: str, package: str) -> None:
    await bury(amqp_uri, SERVICES[package], ["a", "b"], _HOSTILE)

    listed = command(package, amqp_uri, "list")
    shown = command(package, amqp_uri, "show", "a", "--json")
    dropped = command(package, amqp_uri, "drop", "a")
    rest = command(package, amqp_uri, "list", "--json")

    assert "cannot read a" in listed.stdout
    assert f"{SERVICES[package].name}: 2 lie there" in listed.stdout
    assert json.loads(shown.stdout)["body"] == _HOSTILE.decode("utf-8", "replace")
    assert f"{SERVICES[package].name}: 1 dropped" in dropped.stdout
    assert [json.loads(line)["id"] for line in rest.stdout.splitlines()] == ["b"]


async def test_a_terminal_is_not_told_what_to_do_by_a_message(amqp_uri: str) -> None:
    await bury(amqp_uri, OUTPUTS_EVENTS, ["a\x1b[31m"], _HOSTILE)

    shown = command("scripthut_outputs", amqp_uri, "show")

    assert "rm -rf" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert len(shown.stdout.splitlines()) == 4


@pytest.mark.parametrize("act", ["replay", "drop"])
async def test_nothing_is_done_to_all_unless_that_is_said(amqp_uri: str, act: str) -> None:
    await bury(amqp_uri, OUTPUTS_EVENTS, ["a", "b"])

    vague = command("scripthut_outputs", amqp_uri, act)
    mistaken = command("scripthut_outputs", amqp_uri, act, "zzz")
    still = len(await lying(amqp_uri, OUTPUTS_EVENTS))
    meant = command("scripthut_outputs", amqp_uri, act, "--all")

    assert (vague.returncode, mistaken.returncode, still, meant.returncode) == (1, 1, 2, 0)
    assert "--all" in vague.stderr
    assert "no dead letter has the id zzz" in mistaken.stderr
    assert await lying(amqp_uri, OUTPUTS_EVENTS) == []


def test_a_broker_that_is_away_is_said_to_be(unused_tcp_port: int) -> None:
    ended = command("scripthut_outputs", f"amqp://guest:guest@127.0.0.1:{unused_tcp_port}/", "list")

    assert ended.returncode == 1
    assert "RabbitMQ" in ended.stderr
    assert "Traceback" not in ended.stderr
