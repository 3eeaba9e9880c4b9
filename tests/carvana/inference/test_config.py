"""The configuration of a prediction."""

import pickle
from pathlib import Path

import pytest

from carvana.errors import UserError
from carvana.inference.config import (
    EnsembleMember,
    PredictionConfig,
    parse_blend,
    resolve_member,
    update_record,
)
from carvana.recipe import read_recipe


def test_weights_are_parsed() -> None:
    assert parse_blend("a=0.6,b=0.4") == {"a": 0.6, "b": 0.4}
    assert parse_blend("maps/x=y=2") == {"maps/x=y": 2.0}


@pytest.mark.parametrize(
    "blend",
    [
        *(
            "",
            "a",
            "a=",
            "=1",
            "a=0,b=1",
            "a=-1,b=1",
            "a=x",
            "a=nan",
            "a=1,a=2",
            "a=1,",
            "a=1,,b=1",
            "a==",
            ",",
        ),
        *("a=inf", "a=1e309", "a=1e308,b=1e308", "a=1e-300", "a=-0", "a=²"),
    ],
)
def test_malformed_weights_are_refused(blend: str) -> None:
    with pytest.raises(UserError, match="--blend"):
        parse_blend(blend)


def test_an_ensemble_is_named_by_its_members() -> None:
    fast, miniature = read_recipe("fast"), read_recipe("miniature", ["threshold=0.4", "tta=none"])
    config = PredictionConfig(
        (EnsembleMember("fast", 0.6, fast), EnsembleMember("miniature", 0.4, miniature))
    )
    assert config.name == "fast=0.6,miniature=0.4"
    assert config.tta == "flip+none"
    assert pickle.loads(pickle.dumps(config)) == config  # it is sent to other machines


def test_the_threshold_is_the_first_recipes_unless_given() -> None:
    miniature = EnsembleMember("miniature", 1, read_recipe("miniature", ["threshold=0.4"]))
    maps = EnsembleMember("kept", 1, maps=Path("kept"))
    assert PredictionConfig((miniature,)).effective_threshold == 0.4
    assert PredictionConfig((maps, miniature)).effective_threshold == 0.4
    assert PredictionConfig((maps,)).effective_threshold == 0.5
    assert PredictionConfig((miniature,), 0.3).effective_threshold == 0.3


def test_a_folder_is_saved_maps_unless_a_recipe_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("kept", "fast"):
        Path(name).mkdir()
    assert resolve_member("kept", 0.5, Path("runs"), [], None) == EnsembleMember(
        "kept", 0.5, maps=Path("kept")
    )
    with pytest.raises(UserError, match="not trained"):
        resolve_member("fast", 0.5, Path("runs"), [], None)


def test_the_fingerprint_depends_on_saved_maps(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    config = PredictionConfig((EnsembleMember("maps", 1, maps=tmp_path),))
    before = config.fingerprint()
    assert config.fingerprint() == before
    (tmp_path / "b.png").write_bytes(b"2")
    assert config.fingerprint() != before


def test_a_record_is_replaced_after_the_old_files_are_discarded(tmp_path: Path) -> None:
    record, discarded = tmp_path / "prediction.json", []

    def update(threshold: float) -> None:
        update_record(
            record, PredictionConfig((), threshold), lambda: discarded.append((threshold, record.exists()))
        )

    update(0.5)
    written = record.stat().st_mtime_ns
    update(0.5)
    assert record.stat().st_mtime_ns == written
    update(0.4)
    assert discarded == [(0.5, False), (0.4, True)]
