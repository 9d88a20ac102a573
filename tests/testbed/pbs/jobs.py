"""The stand-in's jobs: what happens to them in time, and how recorded qstat shows them."""

import time
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[2] / "recordings" / "pbs" / "v23.06.06" / "job_success.x_f_dsv.stdout"
_OVER = frozenset({"F", "X"})


class Job:
    """One job, element or array; `facts` is all that is kept of it."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __getattr__(self, name: str) -> Any:
        return self.__dict__["facts"].get(name)

    @property
    def is_over(self) -> bool:
        return self.state in _OVER

    def move(self, state: str, substate: int, **facts: Any) -> None:
        """Change state."""
        self.facts.update(state=state, substate=substate, mtime=time.time(), **facts)

    def begin(self) -> None:
        count = (self.run_count or 0) + 1
        self.move("R", 42, stime=time.time(), run_count=count, comment=f"Job run at {_day()} on (pbs01:ncpus=1)")

    def requeue(self, status: int, until: float) -> None:
        """Run again later; the exit status of the lost run stays."""
        self.facts.update(not_before=until, stime=None)
        self.move("Q", 10, exit_status=status, comment="Not Running: Not enough free nodes available")

    def finish(self, status: int) -> None:
        """Be over, by this exit status."""
        substate = 91 if self.is_deleted else 92 if status == 0 else 93
        words = {91: "terminated by alice@pbs01", 92: "finished", 93: "failed"}[substate]
        said = "exceeded resource walltime" if status == -29 else words
        comment = f"{self.comment} and {said}"
        self.move(
            "X" if self.index is not None else "F", substate, exit_status=status, obittime=time.time(), comment=comment
        )

    def drop(self, substate: int) -> None:
        """Be over without having begun: deleted, or what it depended on failed."""
        self.move("X" if self.index is not None else "F", substate, obittime=time.time())

    def shown(self, delimiter: str, parent: "Job | None" = None) -> str:
        """Write one line of `qstat -f -F dsv`, as the recorded one."""
        fields = {name: value for name, _, value in (pair.partition("=") for pair in _template()[1:])}
        kept = dict(fields)
        for name in ("exec_host", "exec_vnode", "stime", "obittime", "Exit_status", "run_count", "comment",
                     "session_id", "Stageout_status", "history_timestamp", "jobdir", "Submit_arguments"):  # fmt: skip
            kept.pop(name)
        kept = {name: value for name, value in kept.items() if not name.startswith("resources_used")}
        kept |= self._fields(parent)
        order = [*fields, *(name for name in kept if name not in fields)]
        pairs = [f"{name}={_written(kept[name], delimiter)}" for name in order if name in kept]
        return delimiter.join([f"Job Id: {self.id}", *pairs]) + "\n"

    def _fields(self, parent: "Job | None") -> dict[str, str]:
        of = parent or self
        found = {
            "Job_Name": self.name,
            "Job_Owner": f"{self.user}@pbs01",
            "job_state": self.state,
            "ctime": _stamp(self.ctime),
            "qtime": _stamp(self.ctime),
            "etime": _stamp(self.ctime),
            "mtime": _stamp(self.mtime),
            "Hold_Types": self.hold or "n",
            "Output_Path": f"pbs01:{self.stdout}",
            "Error_Path": f"pbs01:{self.stderr}",
            "substate": str(self.substate),
            "Variable_List": self.variables,
        }
        optional = {
            "comment": of.comment,
            "Exit_status": of.exit_status,
            "stime": of.stime and _stamp(of.stime),
            "obittime": of.obittime and _stamp(of.obittime),
            "run_count": of.run_count,
            "depend": self.depend and "afterok:" + ":".join(f"{one}@pbs01" for one in self.depend),
            "exec_host": "pbs01/0" if of.run_count and of.stime else None,
            "history_timestamp": int(self.mtime) if self.state == "F" else None,
            "array": "True" if self.indices else None,
            "array_indices_submitted": self.range,
            "array_index": self.index if parent is None else None,
        }
        return found | {name: str(value) for name, value in optional.items() if value is not None and value != []}


def _template() -> list[str]:
    return RECORDED.read_text().rstrip("\n").split("|")


def _written(text: str, delimiter: str) -> str:
    return text.replace(delimiter, "\\" + delimiter).replace("\n", "\\n")


def _stamp(moment: float) -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime(moment))


def _day() -> str:
    return time.strftime("%a %b %d at %H:%M", time.gmtime())
