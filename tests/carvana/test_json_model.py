"""JSON files that are read into models."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from carvana.errors import UserError
from carvana.json_model import read_json_model


class Car(BaseModel):
    """A model with a nested value."""

    doors: int
    wheels: dict[str, int] = {}


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "car.json").write_text('{"doors": 5}')
    assert read_json_model(Car, tmp_path / "car.json") == Car(doors=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "car.json: invalid json"),
        ("{}", "car.json: doors: field required; copy it again"),
        ('{"doors": 5, "wheels": {"left": "x"}}', "car.json: wheels: left: input should be a valid integer"),
    ],
)
def test_a_malformed_file_is_named_with_its_key(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "car.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_json_model(Car, tmp_path / "car.json", "; copy it again")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"car\.json: No such file or directory"):
        read_json_model(Car, tmp_path / "car.json", "; copy it again")
