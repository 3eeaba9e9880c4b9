"""A session of a Kaggle notebook, from the unpacked bundle to the manifest of its output.

Only the standard library is imported before the image's packages are complete.
"""

import os
import platform
import sys
import time
from pathlib import Path
from typing import NoReturn

from carvana.kaggle.session import packages
from carvana.kaggle.session.attached import attached_files
from carvana.kaggle.session.settings import SETTINGS_FILE, SessionSettings

ROOT_VARIABLE = "CARVANA_KAGGLE_ROOT"
"""Environment variable that replaces the folder `/kaggle`, for tests on machines without mount namespaces."""


def main(code: Path, bundle: str) -> None:
    """Run a session.

    Args:
        code: the folder of the unpacked bundle.
        bundle: SHA-256 of the bundle.
    """
    started = time.monotonic()
    settings = SessionSettings.from_json((code / SETTINGS_FILE).read_text())
    root = Path(os.environ.get(ROOT_VARIABLE, "/kaggle"))
    libraries = _prepare_packages(settings, code, root / "input")

    from carvana.errors import UserError
    from carvana.kaggle.session.work import Session

    try:
        Session(settings, code, root, libraries).run(started, bundle)
    except UserError as error:
        _fail(str(error))


def _prepare_packages(settings: SessionSettings, code: Path, inputs: Path) -> str:
    """Install missing packages, and return a line about those whose versions differ from the pins."""
    pins = packages.read_pins((code / "requirements.txt").read_text(), encoders=settings.encoder)
    wheels = sorted({path.parent for path in attached_files(inputs, ["*.whl"])})
    try:
        found = packages.ensure_packages(pins, offline=settings.offline, wheels=wheels)
    except packages.MissingPackagesError as error:
        _fail(str(error))
    line = f"Python {platform.python_version()}; {packages.describe_differences(found)}"
    print(line, flush=True)
    return line


def _fail(reason: str) -> NoReturn:
    """End the session with one line, and a status by which Kaggle marks it as failed."""
    print(f"error: {' '.join(reason.split())}", flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
