"""The script that is pushed: it is deterministic, checks itself, and holds no secrets."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kaggle_stand_in import KEY, TOKEN

from carvana.kaggle.bundle import Bundle, make_bundle
from carvana.kaggle.push import make_title, slug_of
from carvana.kaggle.session.settings import SessionSettings

SETTINGS = SessionSettings(
    "train", "mine", "recipes/mine.toml", (0, 1), "all", "key", 12.0, ("train",), networks={"a": "b"}
)
EXTRA = {"folds/mine.csv": b"car,fold\n", "recipes/mine.toml": b"# mine\n"}


def make(settings: SessionSettings = SETTINGS) -> Bundle:
    return make_bundle(settings, "carvana train mine", EXTRA)


def test_settings_survive_json() -> None:
    assert SessionSettings.from_json(SETTINGS.to_json()) == SETTINGS


def test_the_same_content_gives_the_same_script() -> None:
    assert make() == make()
    assert make(replace(SETTINGS, hours=3.0)).sha256 != make().sha256


def test_it_holds_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without = make()
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    monkeypatch.setenv("KAGGLE_KEY", KEY)
    assert make() == without


def run(script: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a script where there is no `/kaggle`."""
    (folder / "script.py").write_text(script)
    environment = {
        "PATH": "/usr/bin:/bin",
        "TMPDIR": str(folder),
        "CARVANA_KAGGLE_ROOT": str(folder / "kaggle"),
    }
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_it_unpacks_itself_and_stops_without_a_gpu(tmp_path: Path) -> None:
    result = run(make().script, tmp_path)
    assert "versions that differ from the pins: none" in result.stdout
    assert result.stdout.endswith("error: Kaggle gave this session no GPU; run the same command again\n")
    assert result.returncode == 1
    (code,) = tmp_path.glob("carvana-*")
    assert (code / "folds" / "mine.csv").read_bytes() == b"car,fold\n"
    assert (code / "recipes" / "mine.toml").exists()
    assert (code / "src" / "recipes" / "fast.toml").exists()


def test_a_changed_script_does_not_run(tmp_path: Path) -> None:
    bundle = make()
    result = run(bundle.script.replace(bundle.sha256, "0" * 64), tmp_path)
    assert result.stderr.startswith("error: this script was changed after it was written")
    assert result.returncode == 1
    assert not list(tmp_path.glob("carvana-*"))


@pytest.mark.parametrize(
    ("recipe", "title"),
    [
        ("single", "carvana train single 01234567"),
        ("batch_norm", "carvana train batch norm 01234567"),
        ("Größe-2", "carvana train gr e 2 01234567"),
        ("a" * 80, f"carvana train {'a' * 27} 01234567"),
    ],
)
def test_titles_that_kaggle_accepts(recipe: str, title: str) -> None:
    made = make_title("train", recipe, "0123456789abcdef")
    assert made == title
    assert len(made) <= 50
    assert slug_of(made) == title.replace(" ", "-")
