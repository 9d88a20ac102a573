r"""Real servers for the tests, each on free loopback ports in a directory of its own, leaving nothing behind.

In a test, ask for a fixture of `tests/conftest.py`:

    def test_an_exit_of_three_is_a_failure(slurm: SlurmCluster) -> None:
        job = slurm.submit("#!/bin/sh\nexit 3\n", user=ALICE)

        assert slurm.wait_ended(job) == "FAILED"

Every server's programs are `Daemon`s: `slurm.slurmctld.stop()`, `rabbitmq.kill()`, `postgres.daemon.kill()`, then
`.start()`; `.pause()` makes one hang and `.resume()` wakes it. What a test leaves down is started again after it.

By hand, to explore with: `python -m tests.testbed` starts Slurm, sshd, RabbitMQ and PostgreSQL, prints how to reach
them, with a `clusters.toml` to copy, and ends them at Ctrl-C. It needs root on Debian and, once,
`sh tests/testbed/install.sh`.

What is started here ends with the process that started it, however that ends: a warden beside it sees to that.
"""
