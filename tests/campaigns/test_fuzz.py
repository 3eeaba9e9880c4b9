"""Damaged and odd input files: each command either succeeds or ends with one line, and touches no other file.

A case damages one file of a folder in which every step was run once, and runs a command that reads the file. The
cases are drawn at random with a fixed seed: a few for every run of the tests, and many with `./run.sh test -m fuzz`.
"""

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns.conftest import SET
from tests.damage import flip_bit
from tests.scripts import run_script

FEW, MANY = 20, 1_500
"""Cases of a run of all tests, and of a campaign."""

Damage = Callable[[bytes, np.random.Generator], bytes]

PREDICT = ["predict", "--recipe", "miniature", "--data", "data", "--out", "submissions/new.csv.gz", *SET]
TRAIN = ["train", "--recipe", "miniature", "--data", "data", "--folds", "folds/data-2.csv", *SET]
CUT_OUT = ["predict", "--recipe", "miniature", "--images", "data/test/*.jpg", "--cutouts", "cutouts", *SET]

COMMANDS = {
    "data/train/*.jpg": [["split", "--data", "data", "--n-folds", "2"], TRAIN],
    "data/train_masks/*.gif": [
        ["split", "--data", "data", "--n-folds", "2"],
        TRAIN,
        [*PREDICT, "--threshold", "auto"],
    ],
    "data/test/*.jpg": [PREDICT, CUT_OUT],
    "data/train_masks.csv": [["split", "--data", "data", "--n-folds", "2", "--out", "folds/new.csv"]],
    "data/metadata.csv": [["compare", "--html", "report.html"]],
    "data/sample_submission.csv": [PREDICT, ["submit", "submissions/miniature.csv.gz", "--dry-run"]],
    "data/test_masks.csv": [
        ["score", "submissions/miniature.csv.gz", "--truth", "data/test_masks.csv"],
        ["submit", "submissions/miniature.csv.gz", "--board", "local"],
    ],
    "folds/*.csv": [TRAIN],
    "mine.toml": [["train", "--recipe", "mine.toml", *TRAIN[3:7]]],
    "runs/*/fold-*/recipe.toml": [PREDICT, TRAIN, ["compare"]],
    "runs/*/fold-*/metadata.json": [PREDICT, TRAIN, ["compare"]],
    "runs/*/fold-*/history.csv": [["compare", "--html", "report.html"]],
    "runs/*/fold-*/scores.csv": [PREDICT, ["compare", "--html", "report.html"]],
    "runs/*/fold-*/errors.csv": [["compare"], ["compare", "--html", "report.html"]],
    "runs/*/fold-*/model.keras": [PREDICT, CUT_OUT, ["export", "--recipe", "miniature", "--fold", "0", *SET]],
    "runs/*/fold-*/refiner.keras": [PREDICT, CUT_OUT],
    "submissions/miniature*.csv.gz": [
        ["score", "submissions/miniature.csv.gz", "--truth", "data/test_masks.csv"],
        ["submit", "--each-fold", "--board", "local"],
    ],
    "submissions/miniature*-prediction.json": [
        ["predict", "--recipe", "miniature", "--data", "data", "--each-fold", *SET]
    ],
    "submissions/miniature-checks.csv": [["compare", "--html", "report.html"]],
    "submissions/ledger.csv": [["compare"], ["submit", "--board", "local"], PREDICT],
}
"""Commands that read each kind of file."""


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content) + 1)]


def _flip_a_bit(content: bytes, rng: np.random.Generator) -> bytes:
    content = content or b"\0"
    return flip_bit(content, rng.integers(len(content)), rng.integers(8))


def _overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    start = rng.integers(len(content) + 1)
    return content[:start] + rng.bytes(16) + content[start + 16 :]


def _replace(content: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(rng.integers(200))


def _repeat(content: bytes, rng: np.random.Generator) -> bytes:
    return content + content


def _swap_line(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    odd = [
        b"",
        b",",
        b"nan",
        b'"',
        b"[" * 3000,
        b"9" * 5000,
        b"-1,-1,-1",
        "²,٣".encode(),
        b"\0",
        b"x = 1",
        *lines,
    ]
    lines[rng.integers(len(lines))] = odd[rng.integers(len(odd))]
    return b"\n".join(lines)


def _swap_word(content: bytes, rng: np.random.Generator) -> bytes:
    separators = b",=: \n"
    places = [index for index, byte in enumerate(content[:100_000]) if byte in separators] or [0]
    start = places[rng.integers(len(places))] + 1
    end = next((place for place in places if place >= start), len(content))
    odd = [
        b"",
        b"nan",
        b"-1",
        b"1e999",
        b"9223372036854775807",
        b"99999999999",
        b"0",
        b"true",
        b"null",
        b"[]",
        b"{}",
    ]
    odd += ["²".encode(), b"x", b"../x", b"$\\alpha$", b"<b>", b"all", b"0.5"]
    return content[:start] + odd[rng.integers(len(odd))] + content[end:]


DAMAGES: list[Damage] = [_cut, _flip_a_bit, _overwrite, _replace, _repeat, _swap_line, _swap_word]
TEXT_DAMAGES: list[Damage] = [_swap_line, _swap_word]
"""Damages that are likelier to leave the form of a text file intact: drawn for half of the cases on text."""


@dataclass(frozen=True)
class Case:
    """A damaged file and a command that reads it."""

    file: Path
    content: bytes
    command: list[str]
    damage: str

    def __str__(self) -> str:
        """Describe the case, for a failure's message."""
        return f"{self.damage} of {self.file}; {' '.join(self.command[:7])}"


def draw_case(finished: Path, rng: np.random.Generator) -> Case:
    """Draw a case at random."""
    patterns = list(COMMANDS)
    pattern = patterns[rng.integers(len(patterns))]
    files = sorted(finished.glob(pattern))
    file = files[rng.integers(len(files))]
    is_text = file.suffix in (".csv", ".toml", ".json")
    damages = TEXT_DAMAGES if is_text and rng.random() < 0.5 else DAMAGES
    damage = damages[rng.integers(len(damages))]
    commands = COMMANDS[pattern]
    command = commands[rng.integers(len(commands))]
    return Case(file.relative_to(finished), damage(file.read_bytes(), rng), command, damage.__name__)


def digests(folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of each file of a user: data, folds and recipes, which no command may change."""
    files = [*folder.glob("data/**/*"), *folder.glob("folds/data-2.csv"), *folder.glob("*.toml")]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def check(case: Case, finished: Path, workspace: Path) -> int:
    """Run a case in a copy of the folder; return the exit status, and fail if the outcome is not allowed."""
    shutil.copytree(finished, workspace)
    (workspace / case.file).write_bytes(case.content)
    before = digests(workspace)
    try:
        result = run_script(*case.command, cwd=workspace)
    except BaseException as error:
        raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
    assert digests(workspace) == before, f"{case}: changed a file of the user"
    assert not list(workspace.glob("**/.part-*")), f"{case}: left a temporary file"
    if result.status == 0:
        assert result.stderr == "", f"{case}: {result.stderr}"
    else:
        assert result.status == 1, f"{case}: exit {result.status}: {result.stderr}"
        assert result.stderr.startswith("error: "), f"{case}: {result.stderr}"
        assert result.stderr.count("\n") == 1, f"{case}: {result.stderr}"
        named = case.file.name in result.stderr or case.file.parent.name in result.stderr
        assert named or case.file.stem in result.stderr, f"{case}: does not name the file: {result.stderr}"
    shutil.rmtree(workspace)
    return result.status


def run_campaign(cases: int, seed: int, finished: Path, workspace: Path) -> None:
    """Run cases until all are done; report all failures together."""
    rng, outcomes, failures = np.random.default_rng(seed), Counter[str](), []
    for _ in range(cases):
        case = draw_case(finished, rng)
        try:
            outcomes["refused" if check(case, finished, workspace) else "accepted"] += 1
        except AssertionError as failure:
            failures.append(str(failure))
            shutil.rmtree(workspace, ignore_errors=True)
    print(f"{cases} cases: {dict(outcomes)}, {len(failures)} failures", file=sys.stderr)
    assert not failures, "\n".join(failures)


def test_a_damaged_file_is_read_or_named_in_one_line(finished: Path, tmp_path: Path) -> None:
    run_campaign(FEW, 0, finished, tmp_path / "workspace")


@pytest.mark.slow
@pytest.mark.fuzz
def test_many_damaged_files(finished: Path, tmp_path: Path) -> None:
    run_campaign(MANY, 1, finished, tmp_path / "workspace")
