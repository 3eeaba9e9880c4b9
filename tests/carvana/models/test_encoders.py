"""Networks of segmentation-models, on Keras 3."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from carvana.backend import keras
from carvana.errors import UserError
from carvana.files import sha256_of_file
from carvana.models.build import build, load, size_spec
from carvana.models.keras2_compat import keras2_modules, patched_library
from carvana.recipe import Recipe, read_recipe


def _recipe(encoder: str = "resnet18", *changes: str) -> Recipe:
    sizes = "stages=[{size=[30, 50], epochs=1, batch_size=2, learning_rate=1e-3}]"
    return read_recipe(
        "resnet34", [f"model.encoder={encoder}", "model.weights=none", "base_filters=2", sizes, *changes]
    )


def _weights(model: keras.Model, layer: str) -> np.ndarray:
    return model.layers[-1].get_layer(layer).get_weights()[0]


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a ResNet18 without its top, in the HDF5 form of published Keras 2 weights."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.h5"
    with patched_library() as library:
        shape = {"input_shape": (None, None, 3), "include_top": False}
        library.Backbones.get_backbone("resnet18", weights=None, **shape, **keras2_modules()).save(path)
    return path


@pytest.mark.parametrize("decoder", ["unet", "fpn", "linknet", "pspnet"])
def test_each_decoder_predicts_and_survives_saving(decoder: str, tmp_path: Path) -> None:
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
    ("encoder", "preprocess"),
    [
        ("resnet18", lambda photo: photo),
        ("vgg16", lambda photo: photo[..., ::-1] - [103.939, 116.779, 123.68]),
        ("mobilenetv2", lambda photo: photo / 127.5 - 1),
        ("efficientnetb0", lambda photo: (photo / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]),
    ],
)
def test_networks_contain_the_preprocessing(
    encoder: str, preprocess: Callable[[np.ndarray], np.ndarray]
) -> None:
    model = build(_recipe(encoder))
    photos = np.random.default_rng(0).integers(256, size=(1, 32, 64, 3)).astype(np.float32)
    preprocessed = keras.Model(model.input, model.get_layer("preprocessing").output)(photos)
    assert np.allclose(np.asarray(preprocessed), preprocess(photos), atol=1e-4)


@pytest.mark.parametrize("decoder", ["unet", "fpn", "linknet", "pspnet"])
def test_last_layers_are_float32_in_mixed_precision(decoder: str) -> None:
    model = build(_recipe("resnet18", f"model.decoder={decoder}", "precision=mixed_bfloat16"))
    layers = [layer for layer in model.layers[-1].layers if layer.weights]
    assert {layer.compute_dtype for layer in layers[:-1]} == {"bfloat16"}
    assert {layer.variable_dtype for layer in layers} == {"float32"}
    assert layers[-1].compute_dtype == model.layers[-1].layers[-1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_weights_are_loaded_from_a_file_with_the_right_checksum(weights_file: Path) -> None:
    digest = sha256_of_file(weights_file)
    loaded = build(_recipe("resnet18", f"model.weights={weights_file}", f"model.sha256={digest}"))
    fresh = build(_recipe("resnet18", "seed=1"))
    with patched_library() as library:
        shape = {"input_shape": (None, None, 3), "include_top": False}
        expected = library.Backbones.get_backbone(
            "resnet18", weights=str(weights_file), **shape, **keras2_modules()
        )
    for layer in ("conv0", "stage4_unit2_conv2"):
        kernel = expected.get_layer(layer).get_weights()[0]
        assert np.array_equal(_weights(loaded, layer), kernel)
        assert not np.array_equal(_weights(fresh, layer), kernel)


def test_weights_that_cannot_be_loaded_are_one_line(
    weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://somewhere: None -- unknown host")

    monkeypatch.setattr(keras.utils, "get_file", offline)
    digest = sha256_of_file(weights_file)
    changes_by_message = {
        'imagenet: cannot be downloaded .*unknown host.*weights = "none"': ["model.weights=imagenet"],
        f"its sha256 is {digest}, the recipe has none": [f"model.weights={weights_file}"],
        "its sha256 is": [f"model.weights={weights_file}", f"model.sha256={'0' * 64}"],
        "cannot be read": [f"model.weights={tmp_path / 'none.h5'}"],
        'expected "imagenet", "none", or a .h5 file': ["model.weights=imagnet"],
        "vgg16 with weights .*mismatch": [
            "model.encoder=vgg16",
            f"model.weights={weights_file}",
            f"model.sha256={digest}",
        ],
    }
    for message, changes in changes_by_message.items():
        with pytest.raises(UserError, match=message) as error:
            build(_recipe("resnet18", *changes))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("densenet121", "densenet121: Keras 3 refuses"),
        ("resnet35", "resnet35: .* no such encoder; it has .*resnet34"),
    ],
)
def test_unsupported_encoders_are_refused(encoder: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(_recipe(encoder))
