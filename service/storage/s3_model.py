"""What the SDK has to know of S3, in a tenth of the memory."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SUFFIXES = (".json", ".json.gz")
_SERVICES = ("s3", "sts", "sso", "oidc")
"""What is stored in, and what credentials are asked of."""


class LeanFiles:
    """Reads the SDK's descriptions of services, in the place of :class:`botocore.loaders.JSONFileLoader`.

    Plain dicts, which keep their order too; no documentation; of the list of endpoints only the services
    that are asked here. The others would be made of their partition's defaults, as unknown ones are.
    """

    def exists(self, file_path: str) -> bool:
        """Whether there is a file of that name, which is without its suffix."""
        return any(Path(file_path + suffix).is_file() for suffix in _SUFFIXES)

    def load_file(self, file_path: str) -> Any:
        """What it says; None if there is none."""
        for path in (Path(file_path + suffix) for suffix in _SUFFIXES):
            if path.is_file():
                told = path.read_bytes()
                return json.loads(gzip.decompress(told) if path.suffix == ".gz" else told, object_hook=_lean)
        return None


def _lean(told: dict[str, Any]) -> dict[str, Any]:
    if isinstance(told.get("documentation"), str):
        told["documentation"] = ""  # some are asked for it
    if "partition" in told and isinstance(services := told.get("services"), Mapping):
        told["services"] = {name: services[name] for name in _SERVICES if name in services}
    return told
