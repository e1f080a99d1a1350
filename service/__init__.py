"""dyte-archiver: every announced recording ends whole and checked in the customer's own storage."""

import importlib
import sys

__version__ = "0.1.0"

if "rich" not in sys.modules:
    # structlog takes rich along if it is there, for tracebacks that nobody is shown: 4 MiB of each pod.
    sys.modules["rich"] = None  # type: ignore[assignment]  # which means: not there
    importlib.import_module("structlog")
    del sys.modules["rich"]
