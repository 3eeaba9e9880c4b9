"""Benchmark of a training step on each installed backend, compared with the same network in plain PyTorch.

    ./run.sh benchmark train_step --network unet --size 288x432 --batch 2

Both have the same parameters, AdamW, BCE and precision, and run forward and backward; plain PyTorch uses the
channels-last layout, eager and compiled. Each variant runs in a process of its own, and the variants alternate;
ratios are those of the medians. Backends that are not installed are skipped; to install them:
`.venv/bin/pip install torch==2.13.0 jax==0.10.2`.
"""

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import typer

from carvana import commandline, console, machine

VARIANTS = {
    "PyTorch, plain": ("torch", "plain"),
    "PyTorch, compiled": ("torch", "compiled"),
    "ours on TensorFlow": ("tensorflow", "ours"),
    "ours on TensorFlow, XLA": ("tensorflow", "ours-xla"),
    "ours on JAX": ("jax", "ours"),
    "ours on PyTorch": ("torch", "ours"),
}
"""Backend and implementation of each variant."""

RECIPES = {"unet": "baseline", "resnet34": "resnet34"}
TRAINABLE = {"unet": 31_031_745, "resnet34": 24_438_804}
BF16_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Peak bfloat16 operations per second of dense matrices, from the data sheets."""


def main(
    network: Annotated[
        Literal["unet", "resnet34"],
        typer.Option(help="unet: with 64 base filters; resnet34: its encoder is a ResNet34."),
    ] = "unet",
    size: Annotated[str, typer.Option(help="HEIGHTxWIDTH.")] = "288x432",
    batch: Annotated[int, typer.Option(min=1, help="Photos per step.")] = 2,
    precision: Annotated[Literal["float32", "bfloat16"], typer.Option()] = "bfloat16",
    steps: Annotated[int, typer.Option(min=1, help="Measured steps per turn.")] = 3,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each variant.")] = 2,
    only: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure a training step, and compare it with the same network in plain PyTorch.

    Example:

        ./run.sh benchmark train_step --network resnet34 --size 512x768 --batch 1
    """
    height, width = (int(side) for side in size.split("x"))
    if only:
        print(json.dumps(_measure(only, network, (height, width), batch, precision, steps)))
        return
    installed = {name: one for name, one in VARIANTS.items() if importlib.util.find_spec(one[0])}
    results: dict[str, list[dict]] = {name: [] for name in installed}
    for _ in range(turns):
        for name, (backend, _) in installed.items():
            results[name].append(_measure_in_subprocess(name, backend))
            console.message(f"{name}: {results[name][-1].get('ms', results[name][-1].get('error'))}")
    _show(results, network, (height, width), batch, precision)


def _measure_in_subprocess(name: str, backend: str) -> dict:
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, *sys.argv, "--only", name]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        return {"error": result.stderr.strip().splitlines()[-1][:200]}
    return json.loads(result.stdout.splitlines()[-1])


def _measure(
    name: str, network: str, size: tuple[int, int], batch: int, precision: str, steps: int
) -> dict[str, object]:
    """Return the milliseconds of each step after three warm-up steps, and the device's peak memory in bytes."""
    backend, implementation = VARIANTS[name]
    random = np.random.default_rng(0)
    photos = random.integers(256, size=(batch, *size, 3), dtype=np.uint8)
    masks = (photos[..., :1] > 128).astype(np.float32)
    build = _ours if implementation.startswith("ours") else _plain
    step, operations = build(network, size, precision, implementation, photos, masks)
    milliseconds = []
    for _ in range(3 + steps):
        start = time.perf_counter()
        step()
        milliseconds.append(1000 * (time.perf_counter() - start))
    return {
        "ms": milliseconds[3:],
        "peak": _peak_memory(backend),
        "device": _device(backend),
        "operations": operations,
    }


def _ours(
    network: str,
    size: tuple[int, int],
    precision: str,
    implementation: str,
    photos: np.ndarray,
    masks: np.ndarray,
) -> tuple[Callable[[], float], float]:
    from carvana.recipe import read_recipe
    from carvana.training.train_step import TrainStep

    stage = (
        f"stages=[{{size=[{size[0]}, {size[1]}], epochs=1, batch_size={len(photos)}, learning_rate=1e-4}}]"
    )
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    changes = [stage, f"precision={policy}", "optimizer=adamw", "loss=bce"]
    weights = ["model.weights=none"] if network == "resnet34" else []
    recipe = read_recipe(RECIPES[network], [*changes, *weights])
    train_step = TrainStep(recipe)
    train_step.start_stage(recipe.stages[0])
    trainable = sum(int(np.prod(weight.shape)) for weight in train_step.model.trainable_weights)
    assert trainable == TRAINABLE[network], trainable
    if implementation == "ours-xla":
        train_step.model.jit_compile = True
    return lambda: train_step.step(photos, masks, 1e-4), _operations(train_step.model, photos.shape)


def _plain(
    network: str,
    size: tuple[int, int],
    precision: str,
    implementation: str,
    photos: np.ndarray,
    masks: np.ndarray,
) -> tuple[Callable[[], float], float]:
    import torch
    from plain_torch import ResNet34UNet, UNet

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    model = (UNet() if network == "unet" else ResNet34UNet()).to(device, memory_format=torch.channels_last)
    assert sum(weight.numel() for weight in model.parameters()) == TRAINABLE[network]
    called = torch.compile(model) if implementation == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.004)
    scale = 255.0 if network == "unet" else 1.0

    def step() -> float:
        x = torch.from_numpy(photos).to(device).permute(0, 3, 1, 2).float() / scale
        y = torch.from_numpy(masks).to(device).permute(0, 3, 1, 2)
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = called(x.contiguous(memory_format=torch.channels_last))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, 0.0


def _operations(model: object, shape: tuple[int, ...]) -> float:
    """Count the operations of a training step: two per multiplication; the backward pass has twice the forward's."""
    from carvana.backend import keras

    total = 0.0
    shapes = _output_shapes(model, shape)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            out = shapes[layer.name]
            pixels = np.prod(out[:3]) if isinstance(layer, keras.layers.Conv2D) else np.prod(out[:3]) / 4
            total += 2 * pixels * np.prod(layer.kernel.shape)
    return 3 * float(total)


def _output_shapes(model: object, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each layer's output, for a batch of photos of a shape."""
    from carvana.backend import keras

    shapes = {}
    networks = [one for one in model._flatten_layers() if isinstance(one, keras.Model)]
    for network in networks:
        layers = [layer for layer in network.layers if not isinstance(layer, keras.Model)]
        outputs = {
            layer.name: layer.output for layer in layers if isinstance(layer.output, keras.KerasTensor)
        }
        traced = keras.Model(network.input, outputs)
        spec = keras.KerasTensor(shape)
        shapes |= {name: tuple(tensor.shape) for name, tensor in traced.compute_output_spec(spec).items()}
    return shapes


def _peak_memory(backend: str) -> int | None:
    """Return the GPU's peak memory in bytes; None on a CPU."""
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    import tensorflow

    found = tensorflow.config.list_physical_devices("GPU")
    return tensorflow.config.experimental.get_memory_info("GPU:0")["peak"] if found else None


def _device(backend: str) -> str:
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    if backend == "jax":
        import jax

        return jax.devices()[0].device_kind
    import tensorflow

    found = tensorflow.config.list_physical_devices("GPU")
    return tensorflow.config.experimental.get_device_details(found[0])["device_name"] if found else "CPU"


def _show(
    results: dict[str, list[dict]], network: str, size: tuple[int, int], batch: int, precision: str
) -> None:
    medians = {
        name: statistics.median(ms for turn in turns for ms in turn["ms"])
        for name, turns in results.items()
        if all("ms" in turn for turn in turns)
    }
    plain = medians.get("PyTorch, plain")
    operations = max((turn.get("operations", 0) for turns in results.values() for turn in turns), default=0)
    rows = []
    for name, turns in results.items():
        if name not in medians:
            rows.append([name, turns[0].get("error", "")[:60], "", "", "", ""])
            continue
        peak = next((top for kind, top in BF16_PEAKS.items() if kind in turns[0]["device"]), None)
        share = operations / (medians[name] / 1000) / peak if peak and precision == "bfloat16" else None
        memory = turns[0]["peak"]
        rows.append(
            [
                name,
                f"{medians[name]:,.0f}",
                f"{1000 * batch / medians[name]:,.2f}",
                f"{plain / medians[name]:.2f}" if plain else "",
                f"{memory / 2**30:.1f}" if memory else "",
                f"{share:.0%}" if share else "",
            ]
        )
    device = next((turn["device"] for turns in results.values() for turn in turns if "device" in turn), "?")
    title = f"{network} at {size[1]}x{size[0]}, batch {batch}, {precision}: {device}, {machine.describe_machine()}"
    heads = ["training step", "ms", "photos/s", "x plain PyTorch", "peak GiB", "of bf16 peak"]
    console.show_table(title, heads, rows)


if __name__ == "__main__":
    commandline.run(main)
