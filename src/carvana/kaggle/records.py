"""Records of notebooks that were pushed, in the folder `RUNS/.kaggle`: which versions, and what came of them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from carvana.errors import UserError
from carvana.files import read_json, write_json

FOLDER = ".kaggle"
"""Folder of the records within the folder of the runs."""


class Outcome(StrEnum):
    """Outcome of a version; `PUSHED` is one that this machine does not know yet."""

    PUSHED = "pushed"
    FINISHED = "finished"
    UNFINISHED = "unfinished"
    FAILED = "failed"


_KEYS = {
    "kernel": str,
    "version": int,
    "outcome": str,
    "fresh": bool,
    "continues_from": int,
    "commit": str,
    "files": dict,
}


@dataclass(frozen=True)
class Record:
    """The newest version of a notebook that this machine knows."""

    kernel: str
    """The notebook, `OWNER/SLUG`."""
    version: int
    outcome: Outcome
    fresh: bool = False
    """True if the version replaces results that were there before it was pushed (`--fresh`)."""
    continues_from: int = 0
    """Newest version from whose output the next one can continue; 0 if there is none."""
    commit: str = ""
    """Commit of the code that was pushed; "" if unknown, as of a version that another machine pushed."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the fetched files by their paths in the output."""

    @property
    def is_replacing(self) -> bool:
        """True if the version replaces results, and its own can still be fetched or continued."""
        return self.fresh and (
            self.outcome in (Outcome.PUSHED, Outcome.UNFINISHED) or self.continues_from > 0
        )

    def write(self, path: Path) -> None:
        """Write the record."""
        write_json(asdict(self), path)


def notebook_record_path(runs: Path, slug: str) -> Path:
    """Return the path of a notebook's record."""
    return runs / FOLDER / f"{slug}.json"


def read_notebook_record(path: Path) -> Record | None:
    """Read a record; None if there is none.

    Raises:
        UserError: the file is malformed.
    """
    if not path.exists():
        return None
    values = {key: value for key, value in read_json(path, _KEYS).items() if key in _KEYS}
    if values["outcome"] not in list(Outcome):
        raise UserError(f"{path}: outcome is {values['outcome']!r}; expected {', '.join(Outcome)}")
    return Record(**values | {"outcome": Outcome(values["outcome"])})


def read_notebook_records(runs: Path) -> Iterator[Record]:
    """Read all records of a folder of runs."""
    for path in sorted((runs / FOLDER).glob("*.json")):
        record = read_notebook_record(path)
        if record is not None:
            yield record
