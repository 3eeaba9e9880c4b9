"""The adapter to segmentation-models."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from carvana.backend import keras
from carvana.errors import UserError
from carvana.models import encoders
from carvana.models.build import build, load, size_spec
from carvana.recipe import Recipe, read_recipe


def _recipe(encoder: str = "resnet18", *changes: str) -> Recipe:
    sizes = "stages=[{size=[30, 50], epochs=1, batch_size=2, learning_rate=1e-3}]"
    return read_recipe(
        "resnet34", [f"model.encoder={encoder}", "model.weights=none", "base_filters=2", sizes, *changes]
    )


def _weights(model: keras.Model, layer: str) -> np.ndarray:
    return model.layers[-1].get_layer(layer).get_weights()[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a ResNet18 without its top, in the form that Keras 2 has left on the web."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.h5"
    with encoders._library() as library:
        shape = {"input_shape": (None, None, 3), "include_top": False}
        library.Backbones.get_backbone("resnet18", weights=None, **shape, **encoders._modules()).save(path)
    return path


def test_the_versions_that_it_was_written_for() -> None:
    assert {name: version(name) for name in encoders.VERSIONS} == encoders.VERSIONS
    assert keras.__version__.startswith("3.")


@pytest.mark.parametrize("decoder", ["unet", "fpn", "linknet", "pspnet"])
def test_each_decoder_predicts_and_survives_its_file(decoder: str, tmp_path: Path) -> None:
    recipe = _recipe("resnet18", f"model.decoder={decoder}")
    model, size = build(recipe), size_spec(recipe).input_size(recipe.size)
    photos = np.random.default_rng(0).integers(256, size=(1, *size, 3)).astype(np.float32)
    maps = np.asarray(model(photos))
    assert (maps.shape, maps.dtype) == ((1, *size, 1), np.float32)
    assert 0 <= maps.min() <= maps.max() <= 1
    model.save(tmp_path / "model.keras")
    assert np.array_equal(np.asarray(load(tmp_path / "model.keras")(photos)), maps)
    with pytest.raises(ValueError, match=f"{size[0]}.*{size[1]}"):
        model(photos[:, 1:])


@pytest.mark.parametrize(
    ("encoder", "prepared"),
    [
        ("resnet18", lambda photo: photo),
        ("vgg16", lambda photo: photo[..., ::-1] - [103.939, 116.779, 123.68]),
        ("mobilenetv2", lambda photo: photo / 127.5 - 1),
        ("efficientnetb0", lambda photo: (photo / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ],
)
def test_preprocessing_lies_inside(encoder: str, prepared) -> None:
    model = build(_recipe(encoder))
    photos = np.random.default_rng(0).integers(256, size=(1, 32, 64, 3)).astype(np.float32)
    inside = keras.Model(model.input, model.get_layer("preprocessing").output)(photos)
    assert np.allclose(np.asarray(inside), prepared(photos), atol=1e-4)


@pytest.mark.parametrize("decoder", ["unet", "fpn", "linknet", "pspnet"])
def test_half_precision_ends_in_float32(decoder: str) -> None:
    model = build(_recipe("resnet18", f"model.decoder={decoder}", "precision=mixed_bfloat16"))
    layers = [layer for layer in model.layers[-1].layers if layer.weights]
    assert {layer.compute_dtype for layer in layers[:-1]} == {"bfloat16"}
    assert {layer.variable_dtype for layer in layers} == {"float32"}
    assert layers[-1].compute_dtype == model.layers[-1].layers[-1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_a_photo_goes_through_layers_that_need_no_lambda() -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 8)).astype(np.float32)
    part = encoders._without_lambda(None, {"start": 2, "stop": 4, "axis": 3})
    scaled = encoders._without_lambda(None, {"scale": 0.5}, name="sum")
    spread = encoders._without_lambda(None, {"channels_axis": 3})
    assert np.array_equal(np.asarray(part(x)), x[..., 2:4])
    assert np.allclose(np.asarray(scaled([x, x])), 1.5 * x)
    assert np.array_equal(np.asarray(spread(x[:, 0, 0])), x[:, :1, :1])
    for layer in (part, scaled):
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_a_file_of_weights_is_loaded_where_its_checksum_agrees(file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    loaded = build(_recipe("resnet18", f"model.weights={file}", f"model.sha256={digest}"))
    fresh = build(_recipe("resnet18", "seed=1"))
    with encoders._library() as library:
        shape = {"input_shape": (None, None, 3), "include_top": False}
        expected = library.Backbones.get_backbone(
            "resnet18", weights=str(file), **shape, **encoders._modules()
        )
    for layer in ("conv0", "stage4_unit2_conv2"):
        kernel = expected.get_layer(layer).get_weights()[0]
        assert np.array_equal(_weights(loaded, layer), kernel)
        assert not np.array_equal(_weights(fresh, layer), kernel)


def test_weights_that_cannot_be_had_say_how_to_go_on(file: Path, tmp_path: Path, monkeypatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://somewhere: None -- unknown host")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    refused = {
        'imagenet: cannot be downloaded .*unknown host.*weights = "none"': ["model.weights=imagenet"],
        f"its sha256 is {digest}, the recipe has none": [f"model.weights={file}"],
        "its sha256 is": [f"model.weights={file}", f"model.sha256={'0' * 64}"],
        "cannot be read": [f"model.weights={tmp_path / 'none.h5'}"],
        'expected "imagenet", "none", or a .h5 file': ["model.weights=imagnet"],
        "vgg16 with weights .*mismatch": [
            "model.encoder=vgg16",
            f"model.weights={file}",
            f"model.sha256={digest}",
        ],
    }
    for says, changes in refused.items():
        with pytest.raises(UserError, match=says) as error:
            build(_recipe("resnet18", *changes))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("encoder", "says"),
    [
        ("densenet121", "densenet121: Keras 3 refuses"),
        ("resnet35", "resnet35: .* no such encoder; it has .*resnet34"),
    ],
)
def test_encoders_that_are_not_there(encoder: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        build(_recipe(encoder))
