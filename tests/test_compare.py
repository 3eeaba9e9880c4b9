"""The script compare.py."""

import subprocess
import sys
from pathlib import Path

from carvana.submission.ledger import Ledger

from .conftest import SRC

_COMPARE = """
import sys
import carvana.console, compare
try:
    carvana.console.run(compare.compare)
finally:
    print("imported:", {"keras", "tensorflow", "matplotlib", "kaggle", "requests", "cv2"} & set(sys.modules))
"""


def test_without_a_report_no_heavy_module_is_imported(tmp_path: Path) -> None:
    Ledger(tmp_path / "submissions" / "ledger.csv").add({"submission": "mine.csv.gz", "recipe": "fast"})
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(SRC)!r})\n{_COMPARE}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mine.csv.gz" in done.stdout
    assert "imported: set()" in done.stdout
