"""Parts that were tried and are not in the product: trunks, heads and activations for likelihood.py's variants.

`register()` gives them names that a config may use. tests/core/test_parts_tried.py looks for leaks in them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pixeltui import registry
from pixeltui.config import Model
from pixeltui.core.depthwise import DepthwiseBlock, DepthwiseConv2d, DepthwiseStack
from pixeltui.core.heads.dmol import LogisticMixtureHead, Mixture
from pixeltui.core.heads.logistic import SHARPEST, WIDEST
from pixeltui.core.layers import (
    ClassBias,
    DownRightShiftedConv2d,
    DownShiftedConv2d,
    MaskedConv2d,
    ResidualBlock,
    init_conv_,
    make_norm,
    shift_down,
    shift_right,
)
from pixeltui.core.parts import fp32, nearest_levels, scale_levels
from pixeltui.core.planes import last_features
from pixeltui.core.single_stack import SingleStack
from pixeltui.core.two_stream import OUT_GAIN, TwoStream, TwoStreamBlock


def register() -> None:
    for name, target in {
        "dilated": "Dilated",
        "weight_norm": "WeightNormed",
        "concat_elu": "ConcatElu",
        "half_size": "HalfSize",
        "skips": "Skips",
        "norm_at_the_end": "NormAtTheEnd",
        "norm_in_the_blocks": "NormInTheBlocks",
        "norm_after": "NormAfter",
        "norm_after_and_at_the_end": "NormAfterAndAtTheEnd",
        "class_at_the_start": "ClassAtTheStart",
        "norm_before": "NormBefore",
        "depthwise_twice": "DepthwiseTwice",
        "depthwise_thrice": "DepthwiseThrice",
        "depthwise_eight": "DepthwiseEight",
        "depthwise_gains": "DepthwiseGains",
        "depthwise_from_first": "FromFirst",
        "depthwise_two_stream": "DepthwiseTwoStream",
        "depthwise_linked": "LinkedDepthwise",
        "dense_above": "DenseAbove",
        "branch_above": "BranchAbove",
        "depthwise_waves_of_levels": "WavesOfLevels",
        "depthwise_places": "Places",
        "depthwise_times": "DepthwiseTimes",
        "depthwise_two_kernels": "DepthwiseTwoKernels",
        "depthwise_inside": "DepthwiseInside",
        "depthwise_inside_half": "DepthwiseInsideHalf",
        "depthwise_both": "DepthwiseBoth",
        "depthwise_inside_quarter": "DepthwiseInsideQuarter",
        "depthwise_dilated": "DepthwiseDilated",
        "depthwise_white": "White",
        "depthwise_white_start": "WhiteStart",
        "depthwise_white_skip": "WhiteSkip",
    }.items():
        registry.ARCHITECTURES[name] = f"parts_tried:{target}"
    registry.ARCHITECTURES["channel_groups"] = "channel_groups:ChannelGroups"
    registry.HEADS["dmol_nets"] = "parts_tried:LogisticMixtureNets"
    registry.HEADS["dmol_relative"] = "parts_tried:RelativeMeans"
    registry.HEADS["dmol_relative_all"] = "parts_tried:RelativeMeansAll"
    registry.HEADS["of_groups"] = "channel_groups:HeadOfGroups"
    registry.GATES["relu2"] = "parts_tried:relu2"
    registry.GATES["gelu"] = "torch.nn.functional:gelu"
    registry.GATES["elu"] = "torch.nn.functional:elu"


def relu2(x: Tensor) -> Tensor:
    """relu(x)² (So et al. 2021)"""
    return F.relu(x).square()


def blocks_of(trunk: TwoStream) -> list[TwoStreamBlock]:
    return [block for block in trunk.blocks if isinstance(block, TwoStreamBlock)]


class NormAtTheEnd(TwoStream):
    """Before the head alone; for model.norm=none"""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.norm = make_norm("layer", model.channels)


class NormInTheBlocks(TwoStream):
    """Not before the head."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.norm = nn.Identity()


class NormAfter(TwoStream):
    """Of what a convolution gives, with the link and the class bias, instead of what it takes."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.norm = nn.Identity()
        for block in blocks_of(self):
            block.__class__ = BlockNormedAfter


class NormAfterAndAtTheEnd(NormAfter):
    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.norm = make_norm(model.norm, model.channels)


class BlockNormedAfter(TwoStreamBlock):
    def forward(self, v: Tensor, h: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        y = self.vertical_conv(v) + self.vertical_class(labels)
        gated = self.vertical_dropout(self.gate(self.vertical_norm(y)))
        if self.vertical_out is not None:
            v = v + self.vertical_out(gated)
        y = self.horizontal_conv(h) + self.link(gated) + self.horizontal_class(labels)
        return v, h + self.horizontal_out(self.horizontal_dropout(self.gate(self.horizontal_norm(y))))


class ClassAtTheStart(TwoStream):
    """One bias for each class, before the blocks."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.class_bias = ClassBias(num_classes, 2 * model.channels)
        for block in blocks_of(self):
            block.vertical_class = block.horizontal_class = None
        self._labels: Tensor | None = None

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        self._labels = labels
        return super().forward(x, labels)

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        above, left, v, h = super().begin(x)
        of_v, of_h = self.class_bias(self._labels).to(v.dtype).chunk(2, dim=1)
        return above, left, v + of_v, h + of_h


class NormBefore(SingleStack):
    """One masked stack whose blocks normalise what they take, and the head too, as those of two streams do."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.norm = make_norm(model.norm, model.channels)
        for block in self.blocks:
            block.__class__ = BlockNormedBefore

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        features = self.first(x) + self.class_bias(labels)
        for block in self.blocks:
            features = block(features)
        return self.near(shift_down(x), shift_right(x), self.norm(features))


class BlockNormedBefore(ResidualBlock):
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x + self.out(self.dropout(self.gate(self.conv(self.norm(x)))))


class DepthwiseTwice(DepthwiseStack):
    inside = 2

    def block(self, model: Model) -> nn.Module:
        return DepthwiseBlock(model, self.inside)


class DepthwiseThrice(DepthwiseTwice):
    inside = 3


class DepthwiseEight(DepthwiseTwice):
    inside = 8


class OutGain(nn.Module):
    """Of a kernel's outputs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.gain[:, None, None, None]


class DepthwiseGains(DepthwiseStack):
    """A factor for each feature that a block adds (Touvron et al. 2021, LayerScale), 1 at the start."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        for block in self.blocks:
            parametrize.register_parametrization(block.out, "weight", OutGain(model.channels))


class FromFirst(DepthwiseStack):
    """A block takes a x + b y, y what the first one took, factors for each feature."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        start = torch.stack([torch.ones(model.channels), torch.zeros(model.channels)])
        self.shares = nn.Parameter(start.repeat(model.blocks, 1, 1))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        first = self.first(x) + self.class_bias(labels)
        features = first
        for block, (own, before) in zip(self.blocks, self.shares.to(first.dtype)[..., None, None], strict=True):
            features = block(own * features + before * first)
        return self.near(shift_down(x), shift_right(x), features)


class DenseAbove(DepthwiseStack):
    """The pixel's row by depthwise kernels, the row above by a dense kernel into what is inside a block, twice the
    features: for a whole row at once."""

    def block(self, model: Model) -> nn.Module:
        return DenseAboveBlock(model, 2)

    def incremental(self, *arguments: object) -> None:
        return None


class DenseAboveBlock(DepthwiseBlock):
    def __init__(self, model: Model, inside: int) -> None:
        super().__init__(model, inside)
        self.above_norm = make_norm(model.norm, model.channels)
        self.above = nn.Conv2d(model.channels, inside * model.channels, (1, 3), padding=(0, 1), bias=False)
        init_conv_(self.above)

    def forward(self, x: Tensor) -> Tensor:
        above = shift_down(self.above(self.above_norm(x)))
        return x + self.out(self.gate(self.into(self.norm(self.spread(x))) + above))


class BranchAbove(DepthwiseStack):
    """Beside a block with twice the features inside one of four times that sees the rows above alone: for a whole row
    at once."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.rows_above = model.first_kernel // 2 + 3 * model.blocks

    def block(self, model: Model) -> nn.Module:
        return BranchAboveBlock(model)

    def incremental(self, *arguments: object) -> None:
        return None


class BranchAboveBlock(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        self.beside, self.above = DepthwiseBlock(model, 2), DepthwiseBlock(model, 4)
        self.above.spread = WholeDepthwiseConv2d(model.channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        shifted = shift_down(x)
        return self.beside(x) + self.above(shifted) - shifted


class WavesOfLevels(DepthwiseStack):
    """Beside the levels sines and cosines of them, of 1, 2, 4, ... 32 waves (Kingma et al. 2021, appendix C)."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.first = FirstOfWaves(image_channels, model)

    def packed(self, dtype: torch.dtype) -> None:
        return None


class FirstOfWaves(nn.Module):
    WAVES = 6

    def __init__(self, image_channels: int, model: Model) -> None:
        super().__init__()
        self.conv = MaskedConv2d("A", (1 + 2 * self.WAVES) * image_channels, model.channels, model.first_kernel)

    def forward(self, x: Tensor) -> Tensor:
        angles = torch.cat([2**k * math.pi * x.float() for k in range(self.WAVES)], dim=1)
        return self.conv(torch.cat([x, angles.sin().to(x.dtype), angles.cos().to(x.dtype)], dim=1))


class Places(DepthwiseStack):
    """A bias for each row and one for each column, before the blocks."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.first = FirstOfPlaces(image_channels, model)

    def packed(self, dtype: torch.dtype) -> None:
        return None


class FirstOfPlaces(MaskedConv2d):
    def __init__(self, image_channels: int, model: Model) -> None:
        super().__init__("A", image_channels, model.channels, model.first_kernel)
        self.row, self.column = (nn.Parameter(torch.zeros(model.channels, 64)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        features = super().forward(x)
        return features + (self.row[:, : x.shape[2], None] + self.column[:, None, : x.shape[3]]).to(features.dtype)


class White(DepthwiseStack):
    """The first kernel is learnt as one of pixels made white (LeCun et al. 1998, Efficient BackProp, section 4.3)."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.first = ConvOfWhite(image_channels, model.channels, model.first_kernel)

    def packed(self, dtype: torch.dtype) -> None:
        return None


class WhiteSkip(White):
    """The linear skip too."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.near = LinearSkipOfWhite(image_channels, model)


class WhiteStart(DepthwiseStack):
    """The first kernel starts as random functions of pixels made white."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        white = ConvOfWhite(image_channels, model.channels, model.first_kernel)
        with torch.no_grad():
            self.first.weight.copy_(white.kernel())
            self.first.bias.zero_()


class ConvOfWhite(MaskedConv2d):
    """Of type A; its weight times Σ^-1/2 is the kernel, Σ being how the pixels that it sees hang together."""

    BESIDE = 0.95
    """correlation of neighbouring pixels of a photograph; its powers are those of pixels further apart"""
    WITHIN = 0.92
    """of the channels of a pixel"""
    white: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__("A", in_channels, out_channels, kernel_size)
        init_conv_(self)
        places = self.mask.nonzero().double()
        pixels = self.BESIDE ** torch.cdist(places, places)
        within = torch.full((in_channels, in_channels), self.WITHIN, dtype=torch.float64).fill_diagonal_(1)
        values, vectors = torch.linalg.eigh(torch.kron(within, pixels))
        live = self.mask.bool().expand(in_channels, -1, -1).flatten()
        white = torch.zeros(len(live), len(live))
        white[live[:, None] & live] = ((vectors / values.sqrt()) @ vectors.T).float().flatten()
        self.register_buffer("white", white, persistent=False)

    def kernel(self) -> Tensor:
        with fp32(self.weight.device):
            return (self.weight.flatten(1) @ self.white).view_as(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        half = self.kernel_size // 2
        return F.conv2d(F.pad(x, (half, half, half, 0)), self.kernel().to(x.dtype), self.bias)


class LinearSkipOfWhite(nn.Module):
    def __init__(self, image_channels: int, model: Model) -> None:
        super().__init__()
        self.conv = ConvOfWhite(image_channels, model.linear_skip, model.first_kernel)

    def forward(self, above: Tensor, left: Tensor, features: Tensor) -> Tensor:
        with fp32(above.device):
            # the image again, but for its last pixel, which nothing sees
            rows = torch.cat([above[:, :, 1:], F.pad(left[:, :, -1:, 1:], (0, 1))], dim=2)
            return torch.cat([features.float(), self.conv(rows.float())], dim=1)


class DepthwiseTimes(DepthwiseStack):
    """x + U gate(W norm(D x * (1 + E x))): what two pixels of a neighbourhood have in common, feature by feature."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseTimesBlock(model)


class DepthwiseTimesBlock(DepthwiseBlock):
    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.factor_norm = make_norm(model.norm, model.channels)
        self.factor = DepthwiseConv2d(model.channels, model.kernel)

    def forward(self, x: Tensor) -> Tensor:
        spread = self.spread(x) * (1 + self.factor(self.factor_norm(x)))
        return x + self.out(self.gate(self.into(self.norm(spread))))


class DepthwiseTwoKernels(DepthwiseStack):
    """Two kernels for each feature, and so twice the inputs of the products that follow."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseTwoKernelsBlock(model)


class DepthwiseTwoKernelsBlock(DepthwiseBlock):
    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.second = DepthwiseConv2d(model.channels, model.kernel)
        self.norm = make_norm(model.norm, 2 * model.channels)
        self.into = nn.Conv2d(2 * model.channels, self.into.out_channels, 1)
        init_conv_(self.into)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.spread(x), self.second(x)], dim=1)
        return x + self.out(self.gate(self.into(self.norm(both))))


class DepthwiseInside(DepthwiseStack):
    """x + U gate(D W norm(x)): the kernels act on the features inside (Sandler et al. 2018)."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseInsideBlock(model)


class DepthwiseInsideHalf(DepthwiseInside):
    """Of half of them."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseInsideBlock(model, 2)


class DepthwiseInsideQuarter(DepthwiseInside):
    """Of a quarter of them, as many as outside."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseInsideBlock(model, 1)


class DepthwiseBoth(DepthwiseInside):
    """Of the features of a block and of those inside."""

    def block(self, model: Model) -> nn.Module:
        return DepthwiseBothBlock(model)


class DepthwiseBothBlock(DepthwiseBlock):
    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.inside = DepthwiseConv2d(self.into.out_channels, model.kernel)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.gate(self.inside(self.into(self.norm(self.spread(x))))))


class DepthwiseInsideBlock(DepthwiseBlock):
    def __init__(self, model: Model, times: int = 4) -> None:
        super().__init__(model)
        self.spread = DepthwiseConv2d(times * model.channels, model.kernel)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.into(self.norm(x))
        count = self.spread.out_channels
        spread = self.spread(inside[:, :count])
        if count < inside.shape[1]:
            spread = torch.cat([spread, inside[:, count:]], dim=1)
        return x + self.out(self.gate(spread))


class DepthwiseDilated(DepthwiseStack):
    """Taps of the blocks 1, 2, 4 pixels apart, over and over."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.rows_above = None
        for number, block in enumerate(self.blocks):
            block.spread.__class__ = DilatedDepthwiseConv2d
            block.spread.dilation = (2 ** (number % 3),) * 2

    def packed(self, dtype: torch.dtype) -> None:
        return None


class DilatedDepthwiseConv2d(DepthwiseConv2d):
    def forward(self, x: Tensor) -> Tensor:
        half = (self.kernel_size[0] - 1) * self.dilation[0]
        padded = F.pad(x, (half, half, half, 0))
        return F.conv2d(padded, self.weight * self.mask, self.bias, groups=self.groups, dilation=self.dilation)


class WholeDepthwiseConv2d(nn.Module):
    """A DepthwiseConv2d that sees all of the pixel's row: for features of the rows above."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.inner = DepthwiseConv2d(channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        half = self.inner.kernel_size[0] - 1
        padded = F.pad(x, (half, half, half, 0))
        return F.conv2d(padded, self.inner.weight, self.inner.bias, groups=self.inner.groups)


class DepthwiseTwoStream(TwoStream):
    """Two stacks that are added before the horizontal one's products, of which it has half as many."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.blocks = nn.ModuleList(self.block(model, num_classes) for _ in range(model.blocks))

    def block(self, model: Model, num_classes: int) -> nn.Module:
        return DepthwiseTwoStreamBlock(model, num_classes)

    def incremental(self, *arguments: object) -> None:
        return None


class DepthwiseTwoStreamBlock(nn.Module):
    def __init__(self, model: Model, num_classes: int) -> None:
        super().__init__()
        self.vertical, self.horizontal = DepthwiseBlock(model, 4), DepthwiseBlock(model, 2)
        self.vertical.spread = WholeDepthwiseConv2d(model.channels, model.kernel)
        self.vertical_class = ClassBias(num_classes, self.vertical.into.out_channels)

    def forward(self, v: Tensor, h: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        v = v + self.inside(self.vertical, self.vertical.spread(v), self.vertical_class(labels))
        return v, self.beside(v, h, labels)

    def beside(self, v: Tensor, h: Tensor, labels: Tensor) -> Tensor:
        return h + self.inside(self.horizontal, self.horizontal.spread(h) + v)

    def inside(self, block: DepthwiseBlock, x: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        return block.out(block.gate(block.into(block.norm(x)) + bias))


class LinkedDepthwise(DepthwiseTwoStream):
    """The horizontal stack takes the vertical one in by a matrix into what is inside its blocks, which know classes."""

    def block(self, model: Model, num_classes: int) -> nn.Module:
        return LinkedDepthwiseBlock(model, num_classes)


class LinkedDepthwiseBlock(DepthwiseTwoStreamBlock):
    def __init__(self, model: Model, num_classes: int) -> None:
        super().__init__(model, num_classes)
        self.horizontal_class = ClassBias(num_classes, self.horizontal.into.out_channels)
        self.link_norm = make_norm(model.norm, model.channels)
        self.link = nn.Conv2d(model.channels, 2 * model.channels, 1, bias=False)
        init_conv_(self.link)

    def beside(self, v: Tensor, h: Tensor, labels: Tensor) -> Tensor:
        bias = self.link(self.link_norm(v)) + self.horizontal_class(labels)
        return h + self.inside(self.horizontal, self.horizontal.spread(h), bias)


class DilatedDown(DownShiftedConv2d):
    def padded(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, (self.kernel_size[0] - 1) * self.dilation[0], 0))


class DilatedDownRight(DownRightShiftedConv2d):
    def padded(self, x: Tensor) -> Tensor:
        rows, columns, step = self.kernel_size[0] - 1, self.kernel_size[1] - 1, self.dilation[0]
        return F.pad(x, (columns * step, 0, rows * step, 0))


class Dilated(TwoStream):
    """Taps of the blocks 1, 2, 4 pixels apart, over and over."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.rows_above = None
        for number, block in enumerate(blocks_of(self)):
            for conv, kind in ((block.vertical_conv, DilatedDown), (block.horizontal_conv, DilatedDownRight)):
                conv.__class__ = kind
                step = 2 ** (number % 3)
                conv.dilation, conv.padding = (step, step), (0, conv.padding[1] * step)


class Gain(nn.Module):
    """Rows of a kernel as a length and a direction (Salimans and Kingma 2016)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.gain = nn.Parameter(weight.detach().flatten(1).norm(dim=1))

    def forward(self, weight: Tensor) -> Tensor:
        return weight * (self.gain / weight.flatten(1).norm(dim=1))[:, None, None, None]


class WeightNormed(TwoStream):
    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        for conv in [module for module in self.blocks.modules() if isinstance(module, nn.Conv2d)]:
            parametrize.register_parametrization(conv, "weight", Gain(conv.weight))


class ConcatElu(TwoStream):
    """elu of x and of -x (Salimans et al. 2017), which gives each 1x1 convolution of a block twice the inputs."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        for block in blocks_of(self):
            block.gate = concat_elu
            for name in ("vertical_out", "link", "horizontal_out"):
                old = getattr(block, name)
                if old is not None:
                    new = nn.Conv2d(2 * model.channels, old.out_channels, 1, bias=old.bias is not None)
                    init_conv_(new, gain=1.0 if name == "link" else OUT_GAIN)
                    setattr(block, name, new)


def concat_elu(x: Tensor) -> Tensor:
    return F.elu(torch.cat([x, -x], dim=1))


class Halve(nn.Module):
    """Both stacks at half the size: shifted kernels of 2x3 and 2x2 with a stride of 2."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.norms = nn.ModuleList(make_norm(model.norm, model.channels) for _ in range(2))
        self.vertical = DownShiftedConv2d(model.channels, model.channels, (2, 3))
        self.horizontal = DownRightShiftedConv2d(model.channels, model.channels, (2, 2))
        for conv in (self.vertical, self.horizontal):
            conv.stride = (2, 2)
            init_conv_(conv)

    def forward(self, v: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.vertical(self.norms[0](v)), self.horizontal(self.norms[1](h))


class Double(nn.Module):
    """Four pixels from each: a pixel of the small stacks hangs on what the top left one of the four may see."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.norms = nn.ModuleList(make_norm(model.norm, model.channels) for _ in range(2))
        self.outs = nn.ModuleList(nn.Conv2d(model.channels, 4 * model.channels, 1) for _ in range(2))
        for out in self.outs:
            init_conv_(out, gain=OUT_GAIN)

    def forward(self, v: Tensor, h: Tensor) -> list[Tensor]:
        pairs = zip((v, h), self.norms, self.outs, strict=True)
        return [F.pixel_shuffle(out(norm(x)), 2) for x, norm, out in pairs]


class HalfSize(TwoStream):
    """Down- and up-sampling with short-cuts (Salimans et al. 2017, section 2.3): of 6 blocks 1 before and 2 after 3 at
    half the size, whose result is added to what went in."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        self.rows_above = None
        self.blocks.append(Halve(model))  # among the blocks, so that Muon has their kernels
        self.blocks.append(Double(model))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        above, left, v, h = self.begin(x)
        *blocks, halve, double = self.blocks
        first, last = len(blocks) // 6, len(blocks) - len(blocks) // 3
        for block in blocks[:first]:
            v, h = block(v, h, labels)
        small_v, small_h = halve(v, h)
        for block in blocks[first:last]:
            small_v, small_h = block(small_v, small_h, labels)
        more_v, more_h = double(small_v, small_h)
        v, h = v + more_v, h + more_h
        for block in blocks[last:]:
            v, h = block(v, h, labels)
        return self.end(above, left, h)


class Skips(TwoStream):
    """The second half of the blocks takes in what went into the first, last in first (Salimans et al. 2017, 2.4)."""

    def __init__(self, image_channels: int, num_classes: int, model: Model) -> None:
        super().__init__(image_channels, num_classes, model)
        count = model.blocks // 2
        self.blocks.append(nn.ModuleList(nn.Conv2d(model.channels, model.channels, 1) for _ in range(2 * count)))
        for link in self.blocks[-1]:
            init_conv_(link, gain=OUT_GAIN)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        above, left, v, h = self.begin(x)
        *blocks, links = self.blocks
        kept: list[tuple[Tensor, Tensor]] = []
        for number, block in enumerate(blocks):
            if number < len(blocks) // 2:
                kept.append((v, h))
            elif kept:
                before_v, before_h = kept.pop()
                v = v + links[2 * len(kept)](before_v)
                h = h + links[2 * len(kept) + 1](before_h)
            v, h = block(v, h, labels)
        return self.end(above, left, h)


class RelativeMeans(LogisticMixtureHead):
    """What the features add to a mean is in units of the component's scale (1 at the start): the gradient of a mean
    goes with the inverse of the scale, and that of sharp components drowns all others."""

    near_too = False

    def _params(self, features: Tensor) -> Tensor:
        hidden = F.silu(self.hidden(features))
        with fp32(features.device):
            assert self.near is not None
            assert self.out.bias is not None
            own = self.out(hidden.to(self.out.weight.dtype))
            near = self.near(last_features(features, self.skipped))
            by_mixture = (own + near).unflatten(1, (self.mixtures, -1))
            c, first = self.image_channels, self.logit_channels
            mean, scale = slice(first, first + c), slice(first + c, first + 2 * c)
            sharpest = self.log_bin + SHARPEST
            log_scales = (sharpest + F.softplus(by_mixture[:, :, scale] - sharpest)).clamp(max=WIDEST)
            units = log_scales.exp() * self.mixtures
            bias = self.out.bias.view(self.mixtures, -1)[:, mean, None, None]
            moved, linear = (x.unflatten(1, (self.mixtures, -1))[:, :, mean] for x in (own, near))
            moved = (moved - bias + linear) * units if self.near_too else (moved - bias) * units + linear
            parts = [by_mixture[:, :, :first], bias + moved, by_mixture[:, :, first + c :]]
            return torch.cat(parts, dim=2).flatten(1, 2)


class RelativeMeansAll(RelativeMeans):
    """And what the linear skip adds."""

    near_too = True


class LogisticMixtureNets(LogisticMixtureHead):
    """The mixture, whose logits, means and scales of green and blue a small network moves, given features and the
    channels before: what a linear term cannot say."""

    def __init__(self, channels: int, image_channels: int, levels: int, model: Model) -> None:
        super().__init__(channels, image_channels, levels, model)
        hidden = channels - self.skipped
        self.firsts = nn.ModuleList(nn.Conv2d(hidden + c, hidden, 1) for c in range(1, image_channels))
        self.lasts = nn.ModuleList(nn.Conv2d(hidden, 3 * self.mixtures, 1) for _ in range(1, image_channels))
        for last in self.lasts:
            init_conv_(last, gain=0.01)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        params = [self._params(features)]
        own = features[:, : features.shape[1] - self.skipped]
        for c, (first, last) in enumerate(zip(self.firsts, self.lasts, strict=True), 1):
            hidden = F.silu(first(torch.cat([own, x[:, :c].to(own.dtype)], dim=1)))
            with fp32(features.device):
                params.append(last(hidden.float()))
        return torch.cat(params, dim=1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        more = 3 * self.mixtures * len(self.lasts)
        with fp32(params.device):
            mixture = self._split(params[:, :-more])
            moved = params[:, -more:].view(len(x), len(self.lasts), 3, self.mixtures, *x.shape[2:])
            target = scale_levels(nearest_levels(x, self.levels), self.levels)
            weights = F.log_softmax(mixture.logits, dim=1)[:, :, 0]
            means = self._means(mixture, target[:, :-1])
            results = []
            for c in range(self.image_channels):
                scales = mixture.log_scales
                if c:
                    weights = F.log_softmax(weights + moved[:, c - 1, 0], dim=1)
                    means[c] = means[c] + moved[:, c - 1, 1]
                    scales = scales + 0 * scales
                    scales[:, :, c] += moved[:, c - 1, 2].clamp(-3, 3)
                own = Mixture(mixture.logits, mixture.means, scales, mixture.coefficients)
                per_mixture = self._component(own, means, c, target)
                results.append(torch.logsumexp(weights + per_mixture, dim=1))
                weights = F.log_softmax(weights + per_mixture, dim=1)
            return torch.stack(results, dim=1)

    def level_log_probs(self, features: Tensor, earlier: Tensor) -> Tensor:
        batch, channel = earlier.shape
        levels = torch.zeros(batch, self.levels, self.image_channels, dtype=torch.int64, device=earlier.device)
        levels[:, :, :channel] = earlier[:, None]
        levels[:, :, channel] = torch.arange(self.levels, device=earlier.device)
        x = scale_levels(levels.flatten(0, 1), self.levels)[:, :, None, None]
        params = self(features.repeat_interleave(self.levels, 0)[:, :, None, None], x)
        return self.log_prob(params, x)[:, channel, 0, 0].view(batch, self.levels)

    def incremental(self) -> None:
        return None
