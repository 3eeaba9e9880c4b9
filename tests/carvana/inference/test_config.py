"""The configuration of a prediction."""

import json
import os
import pickle
from pathlib import Path

import pytest

from carvana.errors import UserError
from carvana.inference.config import (
    EnsembleMember,
    PredictionConfig,
    parse_blend,
    resolve_member,
)
from carvana.recipe import read_recipe
from carvana.runs import RunDir


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


MAPS = {"a.png": b"1", "b.png": b"2"}


def _maps_fingerprint(folder: Path, maps: dict[str, bytes], seconds: int = 0) -> dict:
    """Return the fingerprint of a prediction from a new folder of these files, with a time of their own."""
    folder.mkdir()
    for name, content in maps.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (seconds, seconds))
    return PredictionConfig((EnsembleMember("maps", 1, maps=folder),)).fingerprint()


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        (MAPS, True),
        (MAPS | {".part-a.png": b"3", "notes.txt": b"4"}, True),
        (MAPS | {"b.png": b"3"}, False),
        (MAPS | {"c.png": b"3"}, False),
        ({"a.png": b"1"}, False),
        ({"a.png": b"2", "b.png": b"1"}, False),
    ],
)
def test_the_fingerprint_of_saved_maps_is_their_content(
    tmp_path: Path, changed: dict[str, bytes], is_same: bool
) -> None:
    before = _maps_fingerprint(tmp_path / "maps", MAPS)
    after = _maps_fingerprint(tmp_path / "copy", changed, seconds=10**9)
    assert (before == after) == is_same


def _run(folder: Path, **networks: bytes) -> RunDir:
    folder.mkdir(parents=True)
    for name, content in networks.items():
        (folder / f"{name}.keras").write_bytes(content)
    return RunDir(folder)


def _fingerprint(runs: tuple[RunDir, ...], changes: list[str], **settings: object) -> dict:
    recipe = read_recipe("fast", changes)
    weight = settings.pop("weight", 1)
    return PredictionConfig((EnsembleMember("fast", weight, recipe, runs),), **settings).fingerprint()


def test_the_fingerprint_of_networks_is_all_that_their_maps_depend_on(tmp_path: Path) -> None:
    runs = (_run(tmp_path / "a" / "fold-0", model=b"1"), _run(tmp_path / "a" / "fold-1", model=b"2"))
    copies = (_run(tmp_path / "b" / "fold-0", model=b"1"), _run(tmp_path / "b" / "fold-1", model=b"2"))
    refined = (_run(tmp_path / "c" / "fold-0", model=b"1", refiner=b"3"), runs[1])
    assert _fingerprint(runs, []) == _fingerprint(copies, [])
    different = [
        _fingerprint(runs, []),
        _fingerprint(runs[:1], []),
        _fingerprint(refined, []),
        _fingerprint((_run(tmp_path / "d" / "fold-0", model=b"2"), runs[1]), []),
        _fingerprint(runs, ["tta=scales"]),
        _fingerprint(runs, ["dropout=0.1"]),
        _fingerprint(runs, [], threshold=0.3),
        _fingerprint(runs, [], per_fold=True),
        _fingerprint(runs, [], weight=0.5),
    ]
    assert all(different.count(one) == 1 for one in different)
    assert "keras" in str(different[0])
    assert json.loads(json.dumps(different)) == different
