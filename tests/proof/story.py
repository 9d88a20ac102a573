"""What is done to the production shape while it works: an upgrade, one that fails, restarts; in the end a restore."""

from tests.proof.commands import CommandFailed, call, say
from tests.proof.load import Load
from tests.proof.stack import Stack, ready

FIRST, SECOND, BROKEN = "1.0.0", "1.1.0", "1.2.0"
OURS = ("outputs-api", "collector", "poller")
_FIRST_RUNS = 3
# A process that is told its database twice says so and ends.
_BROKEN_IMAGE = "FROM {image}\nENV SCRIPTHUT_OUTPUTS_DATABASE_URL=postgresql://twice\n"


def disturb(stack: Stack, load: Load) -> list[str]:
    """Do all of it, each as a phase of the load; say what did not come about as it should."""
    faults = []
    with load.fares.phase("nothing"):
        load.wait_taken(_FIRST_RUNS)
    with load.fares.phase("a new version is built"):
        stack.release(SECOND)
        stack.compose("build")
    with load.fares.phase("rolling upgrade"):
        stack.make("upgrade")
        faults += _all_run(stack, SECOND)
    with load.fares.phase("an upgrade that fails"):
        faults += _fails(stack)
        faults += _all_run(stack, SECOND)
    for service in ("rabbitmq", "postgres"):
        with load.fares.phase(f"{service} is restarted"):
            stack.compose("restart", service)
            ready(stack, [service, *OURS])
            load.wait_taken(len(load.works) + 1)
    with load.fares.phase("nothing more, to the end"):
        load.hand_in_no_more()
        faults += load.wait_watched(300)
    return faults


def restore(stack: Stack) -> None:
    """Save everything, lose everything, and bring it back, as docs/operators.md says."""
    stack.compose("stop", "collector")
    stack.shell("docker compose exec -T postgres pg_dump -U scripthut -Fc scripthut > ../scripthut.dump")
    stack.shell("docker compose exec -T outputs-api tar -C /var/lib/scripthut -cf - blobs door > ../scripthut.tar")
    stack.compose("start", "collector")
    stack.lose()
    stack.compose("up", "--detach", "--wait", "postgres", "rabbitmq")
    restoring = "pg_restore -U scripthut -d scripthut --exit-on-error --single-transaction"
    stack.shell(f"docker compose exec -T postgres {restoring} < ../scripthut.dump")
    stack.shell("docker compose run --rm --no-deps -T outputs-api tar -C /var/lib/scripthut -xf - < ../scripthut.tar")
    stack.up()
    say(stack.compose("exec", "-T", "outputs-api", "scripthut-outputs", "verify").strip())


def _fails(stack: Stack) -> list[str]:
    """Roll out a version that does not start: it must be refused, and nobody notices."""
    image = f"{stack.project}/outputs-api"
    file = stack.folder / "broken.Dockerfile"
    file.write_text(_BROKEN_IMAGE.format(image=f"{image}:{SECOND}"))
    call(["docker", "build", "--tag", f"{image}:{BROKEN}", "--file", file, stack.folder / "config"])
    stack.release(BROKEN)
    try:
        stack.shell("PATIENCE_S=20 sh deploy/replace.sh outputs-api")
    except CommandFailed as error:
        say("deploy/replace.sh refused a version that does not start")
        return [] if "is not healthy" in str(error) else [f"it was refused for another reason: {error}"]
    finally:
        stack.release(SECOND)
    return ["a version that does not start was rolled out"]


def _all_run(stack: Stack, version: str) -> list[str]:
    faults = []
    for service, count in zip(OURS, (3, 2, 1), strict=True):
        images = stack.images_of(service)
        name = "poller" if service == "poller" else "outputs-api"
        if images != [f"{stack.project}/{name}:{version}"] * count:
            faults.append(f"of {service} there run {images}")
    return faults
