"""The images that the production shape is built from: given ones, else stand-ins made of Debian packages here.

`SCRIPTHUT_PROOF_PYTHON_IMAGE`, `…_POSTGRES_IMAGE`, `…_RABBITMQ_IMAGE` and `…_NGINX_IMAGE` name images that are to be
taken instead, as `python:3.11-slim-bookworm`. A stand-in that is there already is taken again. `SCRIPTHUT_PROOF_DEBIAN`
names another mirror of Debian than apt's own.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.proof.commands import CommandFailed, call, say, show

_FOLDER = Path(__file__).parent / "standins"
_PREFIX = "scripthut-proof"
_NAMES = ("python", "postgres", "rabbitmq", "nginx", "cluster")
# The mirror of a suite without releases may be older than its signature is good for.
_SUITES = {"bookworm": (), "sid": ("--aptopt=Acquire::Check-Valid-Until false",)}
# How pip reaches an index on this machine, which is no business of an image that we publish.
_PIP_CONF = Path("/etc/pip.conf")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def images() -> dict[str, str]:
    """Give the name of each image, and make what is missing.

    Raises:
        CommandFailed: one cannot be made.
    """
    given = {name: os.environ.get(f"SCRIPTHUT_PROOF_{name.upper()}_IMAGE") for name in _NAMES}
    for name in _NAMES:
        if not given[name]:
            _make(name)
    return {name: image or f"{_PREFIX}/{name}" for name, image in given.items()}


def _make(name: str) -> None:
    if _is_there(f"{_PREFIX}/{name}"):
        return
    text = (_FOLDER / f"{name}.Dockerfile").read_text()
    for suite in _SUITES:
        if f"FROM {_PREFIX}/debian:{suite}" in text:
            _debian(suite)
    with tempfile.TemporaryDirectory() as folder:
        context = Path(shutil.copytree(_FOLDER, Path(folder, "context")))
        (context / "pip.conf").write_text(_PIP_CONF.read_text() if _PIP_CONF.exists() else "")
        shutil.copy(_AUTHORITIES, context / "authorities.pem")
        file = context / f"{name}.Dockerfile"
        show(["docker", "build", "--quiet", "--tag", f"{_PREFIX}/{name}", "--file", file, context])


def _debian(suite: str) -> None:
    """Import a suite's smallest system; `mmdebstrap` checks what it takes against the archive's keys."""
    image = f"{_PREFIX}/debian:{suite}"
    if _is_there(image):
        return
    mirror = _mirror()
    say(f"making {image} from {mirror}")
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder, "system.tar")
        call(["mmdebstrap", "--quiet", "--variant=apt", *_SUITES[suite], suite, tar, mirror])
        call(["docker", "import", tar, image])


def _mirror() -> str:
    """Give the mirror of Debian that a variable names, else the one that this machine's own packages are from.

    Raises:
        CommandFailed: there is no apt that knows one.
    """
    told = os.environ.get("SCRIPTHUT_PROOF_DEBIAN")
    asked = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Label: Debian"]
    known = [told] if told else call(asked).split()
    if not known:
        raise CommandFailed("apt knows no mirror of Debian: name one in SCRIPTHUT_PROOF_DEBIAN")
    return known[0]


def _is_there(image: str) -> bool:
    try:
        call(["docker", "image", "inspect", image])
    except CommandFailed:
        return False
    return True


def lacking() -> str:
    """Say why no proof can be made here; empty when it can."""
    if os.geteuid() != 0:
        return "the proof gives files to the accounts of its containers, which needs root"
    for program in ("docker", "mmdebstrap", "openssl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    return f"no Docker daemon answers: {answer.stderr.strip()}" if answer.returncode else ""
