"""Reading of JSON files into pydantic models, with one line for everything that can be wrong with them."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from carvana.errors import UserError
from carvana.files import describe_os_error

M = TypeVar("M", bound=BaseModel)


def read_json_model(model: type[M], path: Path, advice: str = "") -> M:
    """Read a JSON file.

    Args:
        model: what the file holds.
        path: the file.
        advice: what to do about a malformed file, the end of the message.

    Raises:
        UserError: the file is missing or malformed.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(describe_os_error(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        keys = "".join(f"{key}: " for key in first["loc"])
        raise UserError(f"{path}: {keys}{first['msg'].lower()}{advice}") from None
