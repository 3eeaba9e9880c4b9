"""The two benchmarked networks in plain PyTorch, as the reference that the benchmark compares with."""

import torch
from torch import nn


def _double(channels: int, filters: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU(inplace=True),
    )  # fmt: skip


class UNet(nn.Module):
    """The post's network: (n, 3, height, width), 0..1, to logits (n, 1, height, width)."""

    def __init__(self, base_filters: int = 64, depth: int = 4) -> None:
        """Build it with `base_filters` filters at the first level and `depth` 2x2 poolings."""
        super().__init__()
        filters = [base_filters << level for level in range(depth + 1)]
        self.down = nn.ModuleList(_double(i, o) for i, o in zip([3, *filters], filters, strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * f, f, 2, 2) for f in reversed(filters[:-1]))
        self.decoder = nn.ModuleList(_double(2 * f, f) for f in reversed(filters[:-1]))
        self.dropout = nn.Dropout(0.3)
        self.last = nn.Conv2d(base_filters, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map photos to logits."""
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.down[-1](self.dropout(x))
        for up, block in zip(self.up, self.decoder, strict=True):
            x = block(torch.cat([skips.pop(), up(x)], 1))
        return self.last(x)


class _Unit(nn.Module):
    """A pre-activation residual unit (https://arxiv.org/abs/1603.05027)."""

    def __init__(self, channels: int, filters: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(filters)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, filters, 1, stride, bias=False) if projects else None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        activated = torch.relu(self.norm1(x))
        shortcut = self.shortcut(activated) if self.shortcut else x
        return shortcut + self.conv2(torch.relu(self.norm2(self.conv1(activated)))), activated


class ResNet34UNet(nn.Module):
    """A U-Net with the ResNet34 encoder of segmentation-models: photos (n, 3, height, width), 0..255, to logits."""

    def __init__(self) -> None:
        """Build it with random weights."""
        super().__init__()
        self.norm_data = nn.BatchNorm2d(3)
        self.norm_data.register_parameter("weight", None)
        self.conv0, self.norm0 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.stages, channels = nn.ModuleList(), 64
        for filters, units, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            stage = nn.ModuleList()
            for unit in range(units):
                stage.append(_Unit(channels, filters, stride if unit == 0 else 1, projects=unit == 0))
                channels = filters
            self.stages.append(stage)
        self.norm_last = nn.BatchNorm2d(512)
        decoder = ((512 + 256, 256), (256 + 128, 128), (128 + 64, 64), (64 + 64, 32), (32, 16))
        self.decoder = nn.ModuleList(self._decode(channels, filters) for channels, filters in decoder)
        self.last = nn.Conv2d(16, 1, 3, padding=1)

    @staticmethod
    def _decode(channels: int, filters: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map photos to logits."""
        x = torch.relu(self.norm0(self.conv0(self.norm_data(x))))
        skips, x = [x], nn.functional.max_pool2d(x, 3, 2, 1)
        for number, stage in enumerate(self.stages):
            for place, unit in enumerate(stage):
                x, activated = unit(x)
                if number and not place:
                    skips.append(activated)
        x = torch.relu(self.norm_last(x))
        for block in self.decoder:
            x = nn.functional.interpolate(x, scale_factor=2)
            x = block(torch.cat([x, skips.pop()], 1) if skips else x)
        return self.last(x)
