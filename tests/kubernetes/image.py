"""The image, really built, and run as a strict cluster would: numeric user, read-only root, process 1."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from service import __version__
from tests.doubles.programs import find_program
from tests.test_house import ROOT

_SUITE: Final = "trixie"  # its Python is 3.13
_NEEDED: Final = ("buildah", "debootstrap", "unshare", "chroot", "tar")
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_BASE: Final = Path.home() / ".cache" / "dyte-archiver" / f"{_SUITE}.tar"
_SPARED: Final = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
# The root becomes read-only last, since what is mounted on it needs its place there.
_INSIDE: Final = """
mount --bind "$ROOT" "$ROOT" && cd "$ROOT" && mount -t tmpfs -o mode=1777 tmpfs tmp &&
mount --bind "$KEPT" data && mount -t proc proc proc && mount --rbind /dev dev &&
mount -o remount,bind,ro "$ROOT" && exec chroot --userspec="$AS" "$ROOT" env -i -C "$FOLDER" "$@"
"""


def lacking() -> str:
    """What this machine lacks to build an image; empty if nothing."""
    if os.geteuid() != 0:
        return "only root builds an image without a daemon"
    missing = [each for each in _NEEDED if not find_program(each)]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Builder:
    """Builds in ``folder``, on a base image made of Debian's packages, so that no registry is asked."""

    def __init__(self, folder: Path) -> None:
        self._environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}
        places = f'graphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
        (folder / "storage.conf").write_text(f'[storage]\ndriver = "vfs"\n{places}', "utf-8")
        base = self._buildah("from", "scratch")
        self._buildah("add", "--quiet", base, str(_base(folder)), "/")
        self._buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", base)
        self._buildah("commit", "--quiet", base, "localhost/base")
        self._options = ["--isolation=chroot", "--format=docker", "--pull-never"]
        # Whom this machine trusts, for a proxy's sake; it stays in the stage that is thrown away.
        if _CERTIFICATES.exists():
            (folder / "pip.conf").write_text("[global]\ncert = /etc/certificates.crt\n", "utf-8")
            for each in (f"{folder}/pip.conf:/etc/pip.conf:ro", f"{_CERTIFICATES}:/etc/certificates.crt:ro"):
                self._options.append(f"--volume={each}")

    def image(self, name: str, **arguments: str) -> "Image":
        """One that is built with these arguments."""
        tag = f"localhost/{name}"
        given = {"BASE": "localhost/base", "VERSION": __version__} | arguments
        options = [f"--build-arg={argument}={value}" for argument, value in given.items()]
        self._buildah("bud", *self._options, *options, "--tag", tag, str(ROOT))
        (about,) = json.loads(self._buildah("images", "--json", tag))
        told = json.loads(self._buildah("inspect", "--type", "image", tag))
        root = self._buildah("mount", self._buildah("from", "--pull-never", tag))
        return Image(Path(root), told["Docker"]["config"], str(about["size"]))

    def _buildah(self, *arguments: str) -> str:
        done = subprocess.run(
            ["buildah", *arguments],
            env=self._environment, capture_output=True, text=True, timeout=580, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout.strip()


class Image:
    """One that was built: its ``config``, its ``size`` such as ``246 MB``, and what runs in it."""

    def __init__(self, root: Path, config: dict[str, Any], size: str) -> None:
        self._root = root
        self.config = config
        self.size = size

    def command(self, kept: Path, *command: str, **variables: object) -> list[str]:
        """What runs ``command`` in a container that keeps only the folder ``kept``, as ``/data``."""
        kept.mkdir(exist_ok=True)
        os.chown(kept, 65532, 65532)
        environment = [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        places = {
            "ROOT": self._root,
            "KEPT": kept,
            "AS": self.config["User"],
            "FOLDER": self.config["WorkingDir"],
        }
        return [
            *("env", *(f"{name}={value}" for name, value in places.items())),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSIDE, "sh"),
            *(*environment, *command),
        ]

    def run(
        self, kept: Path, *command: str, timeout_s: float = 60.0, **variables: object
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` in a container to its end."""
        return subprocess.run(
            self.command(kept, *command, **variables),
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    @contextmanager
    def running(self, kept: Path, log: Path, **variables: object) -> Iterator["Container"]:
        """Run what the image runs by itself; kill it at the end if it still runs."""
        command = [*self.config["Entrypoint"], *self.config["Cmd"]]
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(kept, *command, **variables), stdout=output, stderr=output
            )
        try:
            yield Container(process)
        finally:
            process.kill()  # what it began goes with it
            process.wait()


class Container:
    """One that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def stop(self) -> int:
        """SIGTERM to its first process, as a kubelet sends it; returns the exit code."""
        (first,) = psutil.Process(self._process.pid).children()
        first.terminate()
        return self._process.wait(timeout=40)


def _base(folder: Path) -> Path:
    """A Debian with Python as an archive, made once on a machine."""
    if not _BASE.exists():
        made = folder / "base"
        options = ["--variant=minbase", "--include=python3,python3-venv,ca-certificates"]
        done = subprocess.run(
            ["debootstrap", *options, _SUITE, str(made)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        for each in _SPARED:
            shutil.rmtree(made / each)
        (made / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        _BASE.parent.mkdir(parents=True, exist_ok=True)
        new = _BASE.with_suffix(".new")
        subprocess.run(["tar", "-C", str(made), "-cf", str(new), "."], check=True)
        new.rename(_BASE)
        shutil.rmtree(made)
    return _BASE
