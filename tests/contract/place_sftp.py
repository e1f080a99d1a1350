"""Places on SFTP servers: OpenSSH's, another that is strict in its own way, and two that lack much."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.places import Place
from tests.doubles.sftp_server import SftpServerDouble
from tests.doubles.sshd import SftpProgram

SFTP_PLACES: Mapping[str, Callable[[pytest.FixtureRequest, Path], Place]] = {
    "sftp-openssh": lambda request, _tmp_path: sftp_place(request.getfixturevalue("openssh")),
    "sftp-rclone": lambda request, _tmp_path: sftp_place(request.getfixturevalue("rclone_sftp")),
    "sftp-bare": lambda request, _tmp_path: sftp_place(request.getfixturevalue("bare_sftp")),
    "sftp-no-rename": lambda request, _tmp_path: sftp_place(request.getfixturevalue("sftp_without_rename")),
}


def sftp_place(server: SftpProgram | SftpServerDouble, **fields: Any) -> Place:
    """A folder of its own below the one where the account lands; it need not be there yet."""
    path = f"calls of/{uuid4().hex}"
    folder = server.root / path

    def files() -> dict[str, int]:
        every = [file for file in folder.rglob("*") if file.is_file()]
        return {file.relative_to(folder).as_posix(): file.stat().st_size for file in every}

    def is_part(name: str) -> bool:
        return name.endswith(".part")

    return Place(
        server.storage_config(path, **fields),
        sessions=lambda: len([name for name in files() if is_part(name)]),
        objects=lambda: {name: size for name, size in files().items() if not is_part(name)},
    )
