"""``{"type": "local"}``: this service's own type, for a folder or a mounted volume."""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from service.storage.config.base import Config


class LocalConfig(Config):
    """A folder on this machine (or a volume mounted into the pod)."""

    type: Literal["local"]
    path: Path

    @property
    def label(self) -> str:
        """How logs and manifests name this storage; no secret in it."""
        return f"local:{self.path}"

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """What no log may show."""
        return ()
