"""Every account of the script can do its work on a real RabbitMQ, and is refused everything else."""

import asyncio
import json
import stat
import sys
from pathlib import Path

import pytest
from aio_pika.exceptions import ProbableAuthenticationError

import rabbitmq_accounts
from scripthut_common.bus import (
    COMMANDS_EXCHANGE,
    EVENTS,
    OUTPUTS_EVENTS,
    POLLER_ANNOUNCEMENTS,
    POLLER_COMMANDS,
    QUEUES,
    Message,
)
from scripthut_common.bus.amqp import AmqpBus
from scripthut_common.bus.topology import DEAD, UNROUTED
from tests.contract.test_bus import RULES, Taken, consuming
from tests.integration.subscribers.accounts import (
    PASSWORD,
    Accounts,
    Attempt,
    bind,
    channel_of,
    consume,
    declare,
    declare_exchange,
    delete_exchange,
    delete_queue,
    feed,
    publish,
    purge,
    read,
    require_refused,
)
from tests.testbed.rabbitmq import RabbitMq

QUEUE, OTHERS = "sub.lab.events", "sub.other.events"
_OURS = [queue.name for queue in QUEUES]

BY_A_SUBSCRIBER: dict[str, Attempt] = {
    "publish an event": publish(EVENTS, "item.completed.daint"),
    "publish a command": publish(COMMANDS_EXCHANGE, "run.requested.daint"),
    "publish to a queue": publish("", "outputs.events"),
    "publish to its own queue": publish("", QUEUE),
    "publish a dead letter": publish(DEAD, "outputs.events"),
    "publish to where nobody is bound": publish(UNROUTED, "item.completed.daint"),
    "declare an exchange": declare_exchange("sub-lab"),
    "declare one of ours": declare_exchange(COMMANDS_EXCHANGE),
    "delete the exchange": delete_exchange(EVENTS),
    "declare another's queue": declare(OTHERS),
    "declare a queue of like name": declare("sub.labs.events"),
    "declare a queue without name": declare(""),
    "declare a queue that stops the others": declare("sub.lab.x", {"x-max-length": 1, "x-overflow": "reject-publish"}),
    "delete its own queue": delete_queue(QUEUE),
    "send its dead letters to us": declare("sub.lab.x", {"x-dead-letter-exchange": COMMANDS_EXCHANGE}),
    "send its dead letters anywhere": declare("sub.lab.x", {"x-dead-letter-exchange": ""}),
    "bind to commands": bind(QUEUE, COMMANDS_EXCHANGE, "run.#"),
    "bind to what nobody takes": bind(QUEUE, UNROUTED, "#"),
    "bind another's queue": bind(OTHERS, EVENTS, "item.completed.daint"),
    "bind ours": bind("outputs.events", EVENTS, "item.completed.daint"),
    "bind to everything": bind(QUEUE, EVENTS, "#"),
    "bind to another type": bind(QUEUE, EVENTS, "item.submitted.daint"),
    "bind to more types": bind(QUEUE, EVENTS, "item.*.daint"),
    "bind to another cluster": bind(QUEUE, EVENTS, "item.completed.eiger"),
    "bind to more clusters": bind(QUEUE, EVENTS, "item.completed.*"),
    "bind to more clusters by the tail": bind(QUEUE, EVENTS, "item.completed.#"),
    "bind to the key on a second line": bind(QUEUE, EVENTS, "#\nitem.completed.daint"),
    "feed an exchange": feed(UNROUTED, EVENTS),
    **{f"read {name}": read(name) for name in [*_OURS, OTHERS]},
    **{f"consume {name}": consume(name) for name in [*_OURS, OTHERS]},
    **{f"purge {name}": purge(name) for name in [*_OURS, OTHERS]},
    **{f"delete {name}": delete_queue(name) for name in [*_OURS, OTHERS]},
}
BY_THE_POLLER: dict[str, Attempt] = {
    "publish a command": publish(COMMANDS_EXCHANGE, "run.requested.daint"),
    "say that files are there": publish(EVENTS, "outputs.collected.daint"),
    "read events": read(OUTPUTS_EVENTS.name),
    "bind to all events": bind(POLLER_ANNOUNCEMENTS.name, EVENTS, "item.#"),
    "declare the other's queue": declare(OUTPUTS_EVENTS.name),
    "delete the other's queue": delete_queue(OUTPUTS_EVENTS.name),
    "purge the other's queue": purge(OUTPUTS_EVENTS.name),
    "delete the exchange": delete_exchange(EVENTS),
    "read a subscriber's queue": read(OTHERS),
}
BY_THE_OUTPUTS_SERVICE: dict[str, Attempt] = {
    "say how a task ended": publish(EVENTS, "item.completed.daint"),
    "read commands": read(POLLER_COMMANDS.name),
    "bind to commands": bind(OUTPUTS_EVENTS.name, COMMANDS_EXCHANGE, "run.#"),
    "bind to everything": bind(OUTPUTS_EVENTS.name, EVENTS, "#"),
    "delete the other's queue": delete_queue(POLLER_COMMANDS.name),
    "delete the exchange": delete_exchange(COMMANDS_EXCHANGE),
    "publish another command": publish(COMMANDS_EXCHANGE, "run.anything.daint"),
    "read a subscriber's queue": read(OTHERS),
}
BY_A_COLLECTOR: dict[str, Attempt] = {
    **BY_THE_OUTPUTS_SERVICE,
    "read events": read(OUTPUTS_EVENTS.name),
    "consume events": consume(OUTPUTS_EVENTS.name),
    "declare its queue": declare(OUTPUTS_EVENTS.name),
    "publish to a queue": publish("", "outputs.events"),
}


def message(number: int, key: str, exchange: str = EVENTS) -> Message:
    return Message(id=f"id-{number}", exchange=exchange, routing_key=key, body=b"{}", mandatory=True)


async def test_a_subscriber_can_hear_what_it_may_and_is_refused_all_else(accounts: Accounts) -> None:
    uri = accounts.subscriber("lab", "--types", "item.completed", "--clusters", "daint")
    accounts.subscriber("other")

    for what, attempt in BY_A_SUBSCRIBER.items():
        print(what)
        await require_refused(uri, attempt)

    async with channel_of(accounts.uri("scripthut-poller")) as channel:
        await publish(EVENTS, "item.completed.daint")(channel)
    async with channel_of(uri) as channel:
        heard = await (await channel.get_queue(QUEUE, ensure=False)).get()
        assert heard.routing_key == "item.completed.daint"
        await heard.ack()


@pytest.mark.parametrize(
    ("limits", "allowed", "refused"),
    [
        ([], ["#", "item.#", "item.completed.daint", "*.*.daint"], []),
        (
            ["--types", "item.completed,run.completed"],
            ["item.completed.daint", "item.completed.*", "item.completed.#", "run.completed.eiger"],
            ["item.#", "item.*.daint", "item.submitted.daint", "itemxcompleted.daint", "#", "*.completed.daint"],
        ),
        (
            ["--clusters", "daint,eiger"],
            ["item.completed.daint", "item.*.eiger", "*.*.daint", "run.*.daint", "cluster.observed.eiger"],
            ["item.#", "#", "*.*.*", "item.completed.*", "item.completed.dain", "#.daint", "item.completed.daintx"],
        ),
    ],
)
async def test_limits_hold_for_types_and_clusters(
    accounts: Accounts, limits: list[str], allowed: list[str], refused: list[str]
) -> None:
    uri = accounts.subscriber("lab", *limits)

    for key in refused:
        await require_refused(uri, bind(QUEUE, EVENTS, key))

    async with channel_of(uri) as channel:
        for key in allowed:
            await bind(QUEUE, EVENTS, key)(channel)


@pytest.mark.parametrize(
    ("account", "attempts"),
    [
        ("scripthut-poller", BY_THE_POLLER),
        ("scripthut-outputs", BY_THE_OUTPUTS_SERVICE),
        ("scripthut-collector", BY_A_COLLECTOR),
    ],
)
async def test_a_service_is_refused_what_is_not_its_own(
    accounts: Accounts, account: str, attempts: dict[str, Attempt]
) -> None:
    accounts.subscriber("other")

    for what, attempt in attempts.items():
        print(what)
        await require_refused(accounts.uri(account), attempt)


async def test_services_say_and_hear_what_is_theirs(accounts: Accounts) -> None:
    poller, outputs = AmqpBus(accounts.uri("scripthut-poller"), rules=RULES), AmqpBus(accounts.uri("scripthut-outputs"))
    collector = AmqpBus(accounts.uri("scripthut-collector"))
    events, commands = Taken(), Taken()

    async with (
        consuming(outputs, (OUTPUTS_EVENTS, events.take)),
        consuming(poller, (POLLER_COMMANDS, commands.take)),
    ):
        await poller.publish(message(1, "item.completed.daint"))
        await outputs.publish(message(2, "run.requested.daint", COMMANDS_EXCHANGE))
        await collector.publish(message(3, "run.cancel_requested.daint", COMMANDS_EXCHANGE))
        await events.wait_for(1)
        await commands.wait_for(2)

    assert events.ids == ["id-1"]
    assert sorted(commands.ids) == ["id-2", "id-3"]
    assert [await bus.check() for bus in (poller, outputs, collector)] == [None, None, None]
    for bus in (poller, outputs, collector):
        await bus.close()


async def test_what_the_script_declares_is_what_the_services_declare(
    accounts: Accounts, rabbitmq: RabbitMq, amqp_uri: str
) -> None:
    def standing() -> object:
        parts = ("exchanges", "queues", "bindings")
        found = {part: rabbitmq.vhosts.manage("GET", f"{part}/{accounts.vhost}") for part in parts}
        return {
            part: sorted(json.dumps([row.get("name"), row.get("arguments"), row.get("routing_key")]) for row in rows)
            for part, rows in found.items()
        }

    by_the_script = standing()
    whole = AmqpBus(amqp_uri)
    assert await whole.check() is None
    await whole.close()

    assert standing() == by_the_script


async def test_the_script_may_be_repeated_and_renews_a_password_only_when_asked(
    accounts: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accounts.run("subscriber", "lab") == 0
    account, password = capsys.readouterr().out.split()
    assert accounts.run("subscriber", "lab") == 0
    assert capsys.readouterr().out == "sub.lab\n"
    async with channel_of(accounts.uri(account, password)):
        pass

    assert accounts.run("subscriber", "lab", "--new-password") == 0
    _, renewed = capsys.readouterr().out.split()

    with pytest.raises(ProbableAuthenticationError):
        async with channel_of(accounts.uri(account, password)):
            pass
    async with channel_of(accounts.uri(account, renewed)):
        pass


async def test_fewer_rights_are_refused_while_a_queue_is_bound_to_more(
    accounts: Accounts, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = accounts.subscriber("lab")

    assert accounts.run("subscriber", "lab", "--types", "item.completed") == 1
    assert f"{QUEUE} is bound to '#', which it may no more" in capsys.readouterr().err
    async with channel_of(uri) as channel:
        await (await channel.get_queue(QUEUE, ensure=False)).unbind(EVENTS, "#")
    assert accounts.run("subscriber", "lab", "--types", "item.completed") == 0
    await require_refused(uri, bind(QUEUE, EVENTS, "#"))


async def test_one_that_may_declare_declares_its_own_alone_and_its_refused_messages_are_kept(
    accounts: Accounts,
) -> None:
    uri = accounts.subscriber("lab", "--may-declare")
    for attempt in (
        declare(OTHERS),
        declare("sub.labs.x"),
        declare(""),
        declare("outputs.events"),
        declare_exchange("x"),
    ):
        await require_refused(uri, attempt)

    async with channel_of(uri) as channel:
        queue = await channel.declare_queue("sub.lab.own", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.bind(EVENTS, "item.#")
        async with channel_of(accounts.uri("scripthut-poller")) as poller:
            await publish(EVENTS, "item.completed.daint")(poller)
        await (await queue.get()).reject(requeue=False)
        dead = await channel.get_queue("sub.lab.dead", ensure=False)
        async with asyncio.timeout(20):
            while (letter := await dead.get(fail=False)) is None:
                pass

    assert letter.headers["x-first-death-queue"] == "sub.lab.own"
    assert letter.headers["x-first-death-reason"] == "rejected"


async def test_a_subscriber_that_is_removed_leaves_nothing(accounts: Accounts, rabbitmq: RabbitMq) -> None:
    uri = accounts.subscriber("lab")

    assert accounts.run("remove", "sub.lab") == 0
    assert accounts.run("remove", "sub.lab") == 0

    names = [queue["name"] for queue in rabbitmq.vhosts.manage("GET", f"queues/{accounts.vhost}")]
    assert QUEUE not in names
    assert "outputs.events" in names
    assert rabbitmq.vhosts.manage("GET", f"policies/{accounts.vhost}") == []
    with pytest.raises(ProbableAuthenticationError):
        async with channel_of(uri):
            pass


def test_no_password_is_an_argument_of_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ctl = tmp_path / "rabbitmqctl"
    told = tmp_path / "told"
    says = 'case "$*" in *list_*) echo "[]";; *) cat > /dev/null;; esac'
    ctl.write_text(f'#!/bin/sh\necho "$0 $@" >> {told}\nenv >> {told}\n{says}\n')
    ctl.chmod(stat.S_IRWXU)

    assert rabbitmq_accounts.main(["subscriber", "lab", "--rabbitmqctl", str(ctl)]) == 0

    _, password = capsys.readouterr().out.split()
    assert "import_definitions" in told.read_text()
    assert password not in told.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["subscriber", "Lab.x"], "'Lab.x' must be 1 to 40 of a-z 0-9 -"),
        (
            ["subscriber", "lab", "--types", "run.requested"],
            "there is no event 'run.requested'; there are item.submitted",
        ),
        (["subscriber", "lab", "--clusters", ".*"], "no cluster can be called '.*'"),
        (["subscriber", "lab", "--password-file", "/nowhere"], "/nowhere: No such file"),
        (["remove", "guest"], "'guest' is no subscriber"),
        (["subscriber", "lab", "--rabbitmqctl", "/nowhere/rabbitmqctl"], "/nowhere/rabbitmqctl"),
        (["subscriber", "lab", "--rabbitmqctl", f"{sys.executable} -c 'raise SystemExit(2)'"], "failed"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rabbitmq_accounts.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_a_password_that_is_short_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "password").write_text(PASSWORD[:11])

    assert rabbitmq_accounts.main(["subscriber", "lab", "--password-file", str(tmp_path / "password")]) == 1
    assert "at least 12 characters" in capsys.readouterr().err
