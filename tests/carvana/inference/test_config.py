"""What photos are asked."""

import pickle
from pathlib import Path

import pytest

from carvana.errors import UserError
from carvana.inference.config import EnsembleMember, PredictionConfig, parse_blend, resolve_member
from carvana.recipe import read_recipe


def test_weights_are_read() -> None:
    assert parse_blend("a=0.6,b=0.4") == {"a": 0.6, "b": 0.4}
    assert parse_blend("maps/x=y=2") == {"maps/x=y": 2.0}


@pytest.mark.parametrize(
    "blend", ["", "a", "a=", "=1", "a=0,b=1", "a=-1,b=1", "a=x", "a=nan", "a=1,a=2", "a=1,"]
)
def test_malformed_weights_are_named(blend: str) -> None:
    with pytest.raises(UserError, match="--blend"):
        parse_blend(blend)


def test_a_blend_is_named_by_its_parts() -> None:
    fast, miniature = read_recipe("fast"), read_recipe("miniature", ["threshold=0.4", "tta=none"])
    config = PredictionConfig(
        (EnsembleMember("fast", 0.6, fast), EnsembleMember("miniature", 0.4, miniature))
    )
    assert config.name == "fast=0.6,miniature=0.4"
    assert config.tta == "flip+none"
    assert config.threshold == 0.5
    assert PredictionConfig((EnsembleMember("miniature", 1, miniature),)).threshold == 0.4
    assert pickle.loads(pickle.dumps(config)) == config  # it goes to other machines


def test_a_folder_is_kept_maps_unless_a_recipe_has_its_name(
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


def test_other_kept_maps_are_another_question(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    config = PredictionConfig((EnsembleMember("maps", 1, maps=tmp_path),))
    before = config.fingerprint()
    assert config.fingerprint() == before
    (tmp_path / "b.png").write_bytes(b"2")
    assert config.fingerprint() != before
