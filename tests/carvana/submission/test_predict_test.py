"""From trained folds to submissions."""

from pathlib import Path

import pytest

from carvana.submission.predict_test import fold_path


@pytest.mark.parametrize(
    ("submission", "of_fold"),
    [
        ("fast.csv.gz", "fast-fold3.csv.gz"),
        ("fast=0.6+deep=0.4.csv.gz", "fast=0.6+deep=0.4-fold3.csv.gz"),
        ("mine.csv", "mine-fold3.csv"),
    ],
)
def test_a_folds_submission_lies_beside_the_ensembles(submission: str, of_fold: str) -> None:
    assert fold_path(Path("submissions") / submission, 3) == Path("submissions") / of_fold
