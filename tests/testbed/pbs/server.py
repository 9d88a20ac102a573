"""The server of the stand-in: keeps jobs in one file, moves them along, answers the commands one after another."""

import calendar
import json
import os
import pwd
import re
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.testbed.pbs.jobs import Job

_RANGE = re.compile(r"([0-9]+)-([0-9]+)(?::([1-9][0-9]*))?")
_SINCE = re.compile(r"(?P<field>[cm])\.ge\.(?P<at>[0-9]{12})")
_ID = re.compile(r"[0-9]+(\[[0-9]*\])?(\.pbs01)?")
_RESOURCE = re.compile(r"walltime=[0-9]+:[0-9]{2}:[0-9]{2}|select=1(:(ncpus|ngpus)=[0-9]+|:mem=[0-9]+[kmgt]b)+")
_PATH = "/usr/local/bin:/usr/bin:/bin"
# What the server notes behind the variables of the job's owner.
_PLACE = {"PBS_O_QUEUE": "workq", "PBS_O_HOST": "pbs01"}
# Source: qsub(1B) of OpenPBS 23.06, environment variables of a job.
_BATCH = {"PBS_ENVIRONMENT": "PBS_BATCH", "PBS_QUEUE": "workq"}
_AT_ONCE = 16
_EXITING_S = 0.2
_REQUEUED_S = 3.0
NO_HISTORY = "PBS is not configured to maintain job history"


class Refused(Exception):
    """A command that ends with a complaint."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status = status


class PbsServer:
    """All jobs, in memory and in `jobs.json`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._spool = directory / "spool"
        self._store = directory / "jobs.json"
        self._kept: dict[str, Any] = {"next": 0, "history": True, "query_other_jobs": True, "jobs": {}}
        if self._store.exists():
            self._kept = json.loads(self._store.read_text())
        self.jobs = {job_id: Job(facts) for job_id, facts in self._kept["jobs"].items()}

    def answer(self, uid: int, request: dict[str, Any]) -> dict[str, Any]:
        """Do one command."""
        self._uid, self._user = uid, pwd.getpwuid(uid).pw_name
        name = request["command"]
        try:
            stdout, stderr, status = getattr(self, f"_{name}")(request)
        except Refused as refusal:
            stdout, stderr, status = "", f"{name}: {refusal}\n", refusal.status
        self.save()
        return {"stdout": stdout, "stderr": stderr, "status": status}

    def save(self) -> None:
        self._kept["jobs"] = {job_id: job.facts for job_id, job in self.jobs.items()}
        draft = self._store.with_suffix(".draft")
        draft.write_text(json.dumps(self._kept))
        draft.rename(self._store)

    def tick(self) -> None:
        """Let time pass."""
        for job in list(self.jobs.values()):
            if job.state in {"Q", "H"} and not job.indices:
                self._try_to_begin(job)
            elif job.state in {"R", "E"}:
                self._try_to_end(job)
        self._settle_arrays()
        if not self._kept["history"]:
            self.jobs = {job_id: job for job_id, job in self.jobs.items() if job.state != "F"}
        self.save()

    def _try_to_begin(self, job: Job) -> None:
        parents = [self.jobs.get(parent) for parent in job.depend or ()]
        if any(parent is None or (parent.is_over and parent.exit_status != 0) for parent in parents):
            job.drop(92)
            return
        waits = any(not parent.is_over for parent in parents if parent is not None)
        job.facts["hold"] = "u" if job.is_held else "s" if waits else None
        if job.hold:
            job.facts.update(state="H", substate=20)
            return
        running = sum(one.state == "R" for one in self.jobs.values())
        if running < _AT_ONCE and time.time() >= (job.not_before or 0):
            job.begin()
            order = {key: job.facts[key] for key in ("user", "script", "stdout", "stderr", "environment", "walltime_s")}
            base = self._base(job)
            base.with_suffix(".draft").write_text(json.dumps(order))
            base.with_suffix(".draft").rename(base.with_suffix(".start"))
        else:
            job.facts.update(state="Q", substate=10)

    def _try_to_end(self, job: Job) -> None:
        end = self._base(job).with_suffix(".end")
        if job.state == "R" and end.exists():
            job.move("E", 51, exit_status=json.loads(end.read_text())["status"])
        elif job.state == "E" and time.time() > job.mtime + _EXITING_S:
            job.finish(job.exit_status)

    def _settle_arrays(self) -> None:
        for array in [job for job in self.jobs.values() if job.indices and not job.is_over]:
            elements = [self.jobs[_element(array.id, index)] for index in array.indices]
            ended = [one for one in elements if one.is_over]
            if any(one.run_count for one in elements):
                array.facts.update(state="B", substate=70, comment="Job Array Began", stime=array.ctime)
            if ended:
                array.facts["exit_status"] = int(max(ended, key=lambda one: one.mtime).exit_status != 0)
            if len(ended) == len(elements):
                worst = max(one.substate for one in elements)
                array.move("F", worst)
                for one in elements:
                    one.facts["state"] = "F"
                if not self._kept["history"]:
                    for one in elements:
                        del self.jobs[one.id]

    def _base(self, job: Job) -> Path:
        return self._spool / f"{job.id.replace('.', '_')}_{job.run_count}.job"

    def _qsub(self, request: dict[str, Any]) -> tuple[str, str, int]:
        options = _options(request["words"], "SNokemvqAlWJ", "h")
        extra = dict(pair.partition("=")[::2] for pair in options.get("W", []))
        name = options.get("N", ["STDIN"])[-1]
        if not re.fullmatch(r"[A-Za-z0-9_+.-]{1,230}", name):
            raise Refused(2, "illegal -N value")
        if options.get("q", ["workq"])[-1] != "workq":
            raise Refused(170, "Unknown queue")
        resources = options.get("l", [])
        for resource in resources:
            if not _RESOURCE.fullmatch(resource):
                raise Refused(187, f"Unknown resource Resource_List.{resource.partition('=')[0]}")
        number, self._kept["next"] = self._kept["next"], self._kept["next"] + 1
        script = self._directory / "scripts" / f"{number}.SC"
        script.write_bytes(request["stdin"].encode("utf-8", "surrogateescape"))
        os.chown(script, self._uid, -1)
        script.chmod(0o500)
        variables = {**self._inherited(request["cwd"]), **_given(options.get("v", [])), **_PLACE}
        facts = {
            "name": name,
            "user": self._user,
            "script": str(script),
            "stdout": options["o"][-1] if "o" in options else f"{request['cwd']}/{name}.o{number}",
            "stderr": options["e"][-1] if "e" in options else f"{request['cwd']}/{name}.e{number}",
            "is_held": "h" in options,
            "depend": [one for one in extra.get("depend", "").removeprefix("afterok:").split(":") if one],
            "walltime_s": next((_seconds(one) for one in resources if one.startswith("walltime=")), None),
            "variables": ",".join(f"{key}={_escaped(value)}" for key, value in variables.items()),
            "environment": {"PATH": _PATH, **variables, **_BATCH, "PBS_JOBNAME": name},
            "ctime": time.time(),
        }
        return f"{self._made(number, facts, options.get('J'))}\n", "", 0

    def _inherited(self, cwd: str) -> dict[str, str]:
        """Say what qsub notes of the place where it runs, in the recorded order."""
        account = pwd.getpwuid(self._uid)
        return {
            "PBS_O_HOME": account.pw_dir,
            "PBS_O_LANG": "C.UTF-8",
            "PBS_O_LOGNAME": account.pw_name,
            "PBS_O_PATH": _PATH,
            "PBS_O_MAIL": f"/var/mail/{account.pw_name}",
            "PBS_O_SHELL": account.pw_shell,
            "PBS_O_WORKDIR": cwd,
            "PBS_O_SYSTEM": "Linux",
        }

    def _made(self, number: int, facts: dict[str, Any], range_: list[str] | None) -> str:
        indices = _indices(range_[-1]) if range_ else []
        job_id = f"{number}[].pbs01" if indices else f"{number}.pbs01"
        for one, index in ((job_id, None), *((_element(job_id, index), index) for index in indices)):
            number_of = {"PBS_ARRAY_INDEX": str(index), "PBS_ARRAY_ID": job_id} if index is not None else {}
            environment = {**facts["environment"], "PBS_JOBID": one, **number_of}
            own = {"id": one, "environment": environment, "index": index, "indices": indices if index is None else []}
            self.jobs[one] = Job({**facts, **own, "range": range_[-1] if range_ and index is None else None})
            self.jobs[one].move("H" if facts["is_held"] else "Q", 20 if facts["is_held"] else 10)
        return job_id

    def _qstat(self, request: dict[str, Any]) -> tuple[str, str, int]:
        if request["words"] == ["-Bf"]:
            history = "    job_history_enable = True\n" if self._kept["history"] else ""
            return f"Server: pbs01\n    server_state = Active\n{history}    pbs_version = 23.06.06\n", "", 0
        options = _options(request["words"], "FD", "Exf")
        ids = options["ids"]
        if options.get("F") != ["dsv"] or "f" not in options or "E" not in options or not ids:
            raise Refused(2, "the stand-in knows -E [-x] -f -F dsv -D DELIMITER ID… only")
        bad = next((one for one in ids if not _ID.fullmatch(one)), None)
        if bad is not None:
            raise Refused(1, f"illegally formed job identifier: {bad}")
        if "x" in options and not self._kept["history"]:
            return "", f"qstat: {NO_HISTORY} {ids[-1]}\n", 0
        shown, complaint, is_hidden = [], Refused(0, ""), False
        for one in ids:
            job = self.jobs.get(one)
            if job is None:
                complaint = Refused(153, f"Unknown Job Id {one}")
            elif job.state == "F" and "x" not in options:
                complaint = Refused(35, f"{one} Job has finished, use -x or -H to obtain historical job information")
            elif job.user != self._user and not self._kept["query_other_jobs"]:
                is_hidden = True
            else:
                shown.append(job.shown(options["D"][-1], self._copied(job)))
        if not shown and not is_hidden:
            raise complaint
        return "".join(shown), "", 0

    def _copied(self, job: Job) -> Job | None:
        """Without history, an ended element shows what its array has."""
        return self.jobs[re.sub(r"\[.*\]", "[]", job.id)] if job.state == "X" and not self._kept["history"] else None

    def _qselect(self, request: dict[str, Any]) -> tuple[str, str, int]:
        options = _options(request["words"], "ut", "x")
        if "x" in options and not self._kept["history"]:
            return "", f"qselect: {NO_HISTORY}\n", 0
        since = _SINCE.fullmatch(options["t"][-1]) if "t" in options else None
        if "t" in options and since is None:
            raise Refused(2, "the stand-in knows -t[cm].ge.YYYYMMDDhhmm only")
        earliest = calendar.timegm(time.strptime(since["at"], "%Y%m%d%H%M")) if since else 0
        field = f"{since['field']}time" if since else "ctime"
        found = [
            job.id
            for job in self.jobs.values()
            if job.user == options["u"][-1]
            and job.index is None
            and getattr(job, field) >= earliest
            and (job.state != "F" or "x" in options)
        ]
        return "".join(f"{one}\n" for one in found), "", 0

    def _qdel(self, request: dict[str, Any]) -> tuple[str, str, int]:
        return self._each("qdel", _options(request["words"], "", "")["ids"], self._delete)

    def _qrls(self, request: dict[str, Any]) -> tuple[str, str, int]:
        return self._each(
            "qrls", _options(request["words"], "h", "")["ids"], lambda job: job.facts.update(is_held=False)
        )

    def _qhold(self, request: dict[str, Any]) -> tuple[str, str, int]:
        return self._each(
            "qhold", _options(request["words"], "h", "")["ids"], lambda job: job.facts.update(is_held=True)
        )

    def _each(self, name: str, ids: list[str], act: Any) -> tuple[str, str, int]:
        said, status = "", 0
        for one in ids:
            job = self.jobs.get(one)
            if job is None:
                said, status = said + f"{name}: Unknown Job Id {one}\n", 153
            elif job.is_over:
                said, status = said + f"{name}: Job has finished {one}\n", 35
            elif job.user != self._user:
                said, status = said + f"{name}: Unauthorized Request  {one}\n", 159
            else:
                act(job)
        return "", said, status

    def _delete(self, job: Job) -> None:
        for one in [self.jobs[_element(job.id, index)] for index in job.indices] or [job]:
            one.facts["is_deleted"] = True
            if one.state in {"R", "E"}:
                self._base(one).with_suffix(".kill").touch()
            elif not one.is_over:
                one.drop(91)

    def _order(self, request: dict[str, Any]) -> tuple[str, str, int]:
        """Do what the tests want; root only."""
        if self._uid != 0:
            raise Refused(159, "Unauthorized Request")
        match request["word"]:
            case "set":
                self._kept.update({name: request[name] for name in ("history", "query_other_jobs") if name in request})
            case "requeue":
                job = self.jobs[request["id"]]
                self._base(job).with_suffix(".kill").touch()
                job.requeue(request["status"], time.time() + _REQUEUED_S)
            case "forget":
                self.jobs.pop(request["id"], None)
        return "", "", 0


def _options(words: list[str], valued: str, plain: str) -> dict[str, list[str]]:
    """Read words as getopt does; `ids` is what is left."""
    found: dict[str, list[str]] = {"ids": []}
    left = iter(words)
    for word in left:
        if not word.startswith("-") or len(word) < 2:
            found["ids"].append(word)
        elif word[1] in valued:
            found.setdefault(word[1], []).append(word[2:] or next(left, ""))
        elif word[1] in plain and len(word) == 2:
            found.setdefault(word[1], [])
        else:
            raise Refused(2, f"invalid option -- '{word[1]}'")
    return found


def _given(words: list[str]) -> dict[str, str]:
    """Read what `-v` gives: NAME=value, comma-separated; a comma of a value's own stands after a backslash."""
    pairs = [pair.replace("\\,", ",") for word in words for pair in re.split(r"(?<!\\),", word)]
    return dict(pair.partition("=")[::2] for pair in pairs)


def _indices(text: str) -> list[int]:
    """Read the elements of an array, `0-5` or `1-9:2`."""
    known = _RANGE.fullmatch(text)
    indices = range(int(known[1]), int(known[2]) + 1, int(known[3] or 1)) if known else ()
    if not indices:
        raise Refused(2, "illegal -J value")
    return list(indices)


def _element(array_id: str, index: int) -> str:
    return array_id.replace("[]", f"[{index}]")


def _seconds(resource: str) -> int:
    hours, minutes, seconds = map(int, resource.removeprefix("walltime=").split(":"))
    return hours * 3600 + minutes * 60 + seconds


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


def main(directory: Path) -> None:
    """Answer and let time pass until we are ended."""
    server, path = PbsServer(directory), directory / "socket"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.listen(64)
        listener.settimeout(0.05)
        while True:
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection, connection.makefile("rwb") as stream:
                    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                    request = json.loads(stream.readline())
                    stream.write(json.dumps(server.answer(struct.unpack("3i", peer)[1], request)).encode())
            server.tick()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
