"""The record of a submission: from what it was predicted. It is the last file that a prediction writes."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from carvana.errors import UserError
from carvana.files import read_json, sha256_of_file, write_json
from carvana.submission.csv_file import Check
from carvana.tables import csv_stem

_KEYS = {"sha256": str, "prediction": dict, "photos": int, "empty": int, "runs": float}


@dataclass(frozen=True)
class SubmissionRecord:
    """What a submission was predicted from, and the result of its check."""

    sha256: str
    """SHA-256 of the submission's file, in hex digits."""
    prediction: dict[str, Any]
    """Fingerprint of the prediction: JSON values that are equal where the same masks are predicted."""
    maps: str | None
    """`content_digest` of the saved maps; None if none were saved."""
    check: Check
    mask_checks: str | None = None
    """SHA-256 of the file of mask checks; None if the submission has none of its own."""

    def write(self, submission: Path) -> None:
        """Write the record beside its submission, as `NAME-prediction.json`."""
        values = {
            "sha256": self.sha256,
            **asdict(self.check),
            "maps": self.maps,
            "mask_checks": self.mask_checks,
        }
        write_json({**values, "prediction": self.prediction}, record_path(submission))


def read_record(submission: Path) -> SubmissionRecord | None:
    """Return the record of a submission's file; None if there is none, or it belongs to other content of the file."""
    try:
        values = read_json(record_path(submission), _KEYS)
        digest = sha256_of_file(submission)
    except (UserError, FileNotFoundError):
        return None
    if values["sha256"] != digest:
        return None
    check = Check(values["photos"], values["empty"], values["runs"])
    return SubmissionRecord(
        digest, values["prediction"], values.get("maps"), check, values.get("mask_checks")
    )


def record_path(submission: Path) -> Path:
    """Return the path of a submission's record."""
    return Path(f"{csv_stem(submission)}-prediction.json")
