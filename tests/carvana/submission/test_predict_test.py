"""Predicting a test set: what is kept, what is predicted again, and in which order files are written."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
from tests.prediction_helpers import write_maps

from carvana.data.dataset import test_samples as photos_to_predict
from carvana.errors import UserError
from carvana.inference.config import EnsembleMember, PredictionConfig
from carvana.submission.ledger import Ledger
from carvana.submission.predict_test import SubmissionSpec, predict_test_set, submission_specs


@dataclass(frozen=True)
class Prediction:
    """A prediction of three photos from saved maps."""

    folder: Path
    config: PredictionConfig

    @property
    def submission(self) -> Path:
        return self.folder / "submissions" / "x.csv.gz"

    @property
    def photos(self) -> list[Path]:
        return [photo.path for photo in photos_to_predict(self.folder / "data")]

    @property
    def maps(self) -> list[Path]:
        return sorted((self.folder / "maps").iterdir())

    def beside(self, name: str) -> Path:
        return self.submission.with_name(name)

    def specs(self, **changes: object) -> list[SubmissionSpec]:
        return submission_specs(replace(self.config, **changes), self.submission)

    def run(self, **changes: object) -> None:
        """Predict with a changed configuration."""
        predict_test_set(self.specs(**changes), photos_to_predict(self.folder / "data"))

    def is_kept(self, capsys: pytest.CaptureFixture[str], **changes: object) -> bool:
        """Predict again; return whether the submission was kept."""
        capsys.readouterr()
        self.run(**changes)
        return "predicted already" in capsys.readouterr().out


@pytest.fixture
def prediction(data: Path, tmp_path: Path) -> Prediction:
    """A prediction that has been run once."""
    write_maps(tmp_path / "maps", data, photos=3)
    member = EnsembleMember("maps", 1, maps=tmp_path / "maps")
    prediction = Prediction(tmp_path, PredictionConfig((member,), 0.5))
    prediction.run()
    return prediction


def _rewrite(path: Path, change: Callable[[bytearray], object]) -> None:
    """Change the content of a file, but neither its size nor its times."""
    times, content = path.stat(), bytearray(path.read_bytes())
    change(content)
    assert len(content) == times.st_size
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _change_last_bits(content: bytearray) -> None:
    content[-10] ^= 1


def test_the_same_prediction_is_kept(prediction: Prediction, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in prediction.submission.parent.glob("x*")}
    assert [path.name for path in sorted(before)] == ["x-checks.csv", "x-prediction.json", "x.csv.gz"]
    for path in (*before, *prediction.maps, *prediction.photos):
        os.utime(path, (0, 0) if path in before else None)  # older than its inputs
    assert prediction.is_kept(capsys)
    assert {path: path.read_bytes() for path in prediction.submission.parent.glob("x*")} == before


CHANGES: dict[str, Callable[[Prediction], object]] = {
    "a photo under the same name": lambda one: _rewrite(one.photos[1], _change_last_bits),
    "two photos exchanged": lambda one: [
        path.write_bytes(content)
        for path, content in zip(
            one.photos[:2], [path.read_bytes() for path in one.photos[1::-1]], strict=True
        )
    ],
    "a saved map": lambda one: one.maps[0].write_bytes(one.maps[1].read_bytes()),
    "the submission": lambda one: one.submission.write_bytes(one.submission.read_bytes() + b"\0"),
    "no submission": lambda one: one.submission.unlink(),
    "no mask checks": lambda one: one.beside("x-checks.csv").unlink(),
    "mask checks cut to their header": lambda one: one.beside("x-checks.csv").write_text("img,check\n"),
    "damaged mask checks": lambda one: one.beside("x-checks.csv").write_bytes(b"\xff\xfe"),
    "no record": lambda one: one.beside("x-prediction.json").unlink(),
    "an empty record": lambda one: one.beside("x-prediction.json").write_bytes(b""),
    "a record of another form": lambda one: one.beside("x-prediction.json").write_text("{}"),
    "a binary record": lambda one: one.beside("x-prediction.json").write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_everything_is_predicted_again(
    prediction: Prediction, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = prediction.beside("x-checks.csv").read_bytes()
    CHANGES[change](prediction)
    assert not prediction.is_kept(capsys)
    assert prediction.is_kept(capsys)
    row = pd.read_csv(prediction.beside("ledger.csv")).iloc[-1]
    assert row["sha256"] == json.loads(prediction.beside("x-prediction.json").read_text())["sha256"]
    assert prediction.beside("x-checks.csv").is_file()
    if "mask checks" in change:
        assert prediction.beside("x-checks.csv").read_bytes() == checks


def test_other_settings_are_another_prediction(
    prediction: Prediction, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = prediction.folder / "copy"
    write_maps(copy, prediction.folder / "data", photos=3)
    (member,) = prediction.config.members
    assert not prediction.is_kept(capsys, threshold=0.4)
    assert not prediction.is_kept(capsys, threshold=0.5)
    assert not prediction.is_kept(capsys, members=(member, EnsembleMember("copy", 1, maps=copy)))
    assert not prediction.is_kept(capsys, members=(member, EnsembleMember("copy", 2, maps=copy)))
    assert not prediction.is_kept(capsys, members=(member,))
    assert prediction.is_kept(capsys, members=(replace(member, maps=copy),))  # the same maps elsewhere


def test_saved_maps_are_part_of_a_prediction(
    prediction: Prediction, capsys: pytest.CaptureFixture[str]
) -> None:
    maps_dir = prediction.beside("x-maps")
    assert not prediction.is_kept(capsys, maps_dir=maps_dir)
    assert prediction.is_kept(capsys, maps_dir=maps_dir)
    assert prediction.is_kept(capsys)
    first, *_ = sorted(maps_dir.iterdir())
    _rewrite(first, _change_last_bits)
    assert not prediction.is_kept(capsys, maps_dir=maps_dir)
    first.unlink()
    assert not prediction.is_kept(capsys, maps_dir=maps_dir)
    assert prediction.is_kept(capsys, maps_dir=maps_dir)


def test_a_deleted_ledger_row_is_restored(prediction: Prediction, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = prediction.beside("ledger.csv")
    before = pd.read_csv(ledger).drop(columns="when")
    ledger.unlink()
    assert prediction.is_kept(capsys)
    pd.testing.assert_frame_equal(pd.read_csv(ledger).drop(columns="when"), before)


def test_the_cv_dice_of_kept_submissions_is_renewed(prediction: Prediction) -> None:
    """It changes with corrected masks of held-out photos, on which no network was trained."""
    photos, (spec,) = photos_to_predict(prediction.folder / "data"), prediction.specs()
    ledger = Ledger.beside(prediction.submission)
    ledger.add(ledger.row_of(prediction.submission) | {"board": "local", "private": "0.8"})
    for dice in (0.9, 0.7):
        scores = pd.DataFrame({"img": [f"00000000000{car}_01.jpg" for car in "abc"], "dice": dice})
        predict_test_set([replace(spec, scores=scores)], photos)
        (row,) = ledger.rows()
        assert (row["cv_dice"], row["cv_low"], row["private"]) == (f"{dice:.6f}", f"{dice:.6f}", "0.8")


def test_what_cannot_end_well_does_not_begin(data: Path, tmp_path: Path) -> None:
    write_maps(tmp_path / "maps", data, photos=3)
    config = PredictionConfig((EnsembleMember("maps", 1, maps=tmp_path / "maps"),))
    specs = submission_specs(config, tmp_path / "submissions" / "x.csv.gz")
    photos = photos_to_predict(data)
    ledger = tmp_path / "submissions" / "ledger.csv"
    ledger.parent.mkdir()
    ledger.write_text("submission\n")
    with pytest.raises(UserError, match=r"ledger\.csv: has no column"):
        predict_test_set(specs, photos)
    ledger.unlink()
    (tmp_path / "maps" / f"{photos[2].path.stem}.png").unlink()
    with pytest.raises(UserError, match=rf"{photos[2].path.stem}\.png: no such map; the folder lacks 1 of 3"):
        predict_test_set(specs, photos)
    assert list(ledger.parent.iterdir()) == []
