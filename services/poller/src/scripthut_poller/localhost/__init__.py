"""The cluster without a scheduler: a detached supervisor with a spool folder, for trying things out.

`scheduler.Localhost` asks and reads answers like any other scheduler. What it asks is this package's own program
(`python -m scripthut_poller.localhost answer`), which reads and writes the spool folder and sees that a
supervisor (`… supervise`) runs while jobs wait. Each job has a runner, a fork of the supervisor that outlives
it: it waits for the job and writes its final record.

Whoever holds a job's lock may change its state. A runner holds it as long as it lives, so a job that began, has
no final record and whose lock is free has lost its runner; it is never started again. Needs Linux and bash.
"""
