"""Where kshot keeps its state: KSHOT_HOME, or the platform's folder for a user's data."""

from __future__ import annotations

import os
from pathlib import Path


def kshot_home() -> Path:
    """Return the folder of all state; it may not exist yet."""
    told = os.environ.get("KSHOT_HOME")
    if told:
        return Path(told).expanduser()
    from platformdirs import user_data_path

    return user_data_path("kshot", appauthor=False)
