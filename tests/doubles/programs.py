"""Finding the programs that tests start."""

import os
import shutil
import sys
from pathlib import Path

__all__ = ["find_program"]


def find_program(name: str) -> str | None:
    """Full path of a program: beside the interpreter first (what PyPI brings), on PATH, in /usr/sbin."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))
