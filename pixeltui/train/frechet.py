"""Fréchet Inception distance (Heusel et al. 2017) by torch-fidelity, whose network is the original one, ported.

The network's weights are downloaded once, to torch's hub folder. Of few images the distance is far too large: published
figures take 10,000 and more.
"""

import contextlib
import sys

import torch
from torch import Tensor
from torch.utils.data import Dataset

from pixeltui.data.grid import to_rgb
from pixeltui.data.torchvision_sets import import_datasets
from pixeltui.errors import UserError

EXTRACTOR = "inception-v3-compat"
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"


def prepare() -> None:
    """Downloads the network's weights where they are not there yet. Raises UserError without them or the library."""
    import_datasets()  # mends torchvision, which the library imports
    try:
        from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY
        from torch_fidelity.utils import create_feature_extractor
    except ImportError:
        raise UserError("the Fréchet distance needs the library torch-fidelity: pip install 'pixeltui[fid]'") from None
    layer = FEATURE_EXTRACTORS_REGISTRY[EXTRACTOR].get_default_feature_layer_for_metric("fid")
    try:
        create_feature_extractor(EXTRACTOR, [layer], cuda=False, verbose=False)
    except OSError as error:
        raise UserError(
            f"the weights of the Inception network cannot be had ({error}): run it once with a network, or put "
            f"{WEIGHTS} into {torch.hub.get_dir()}/checkpoints"
        ) from None


def frechet_distance(images: Tensor, others: Tensor, *, levels: int, batch_size: int = 64) -> float:
    """Of uint8 levels [N, C, H, W] and [M, C, H, W], after `prepare`; grey ones become three equal channels."""
    from torch_fidelity import calculate_metrics

    with contextlib.redirect_stdout(sys.stderr):  # stdout may be a JSON document
        metrics = calculate_metrics(
            input1=Levels(images, levels),
            input2=Levels(others, levels),
            fid=True,
            feature_extractor=EXTRACTOR,
            cuda=images.is_cuda,
            batch_size=batch_size,
            save_cpu_ram=True,  # no worker processes: the images are in memory
            verbose=False,
            cache=False,
        )
    return float(metrics["frechet_inception_distance"])


class Levels(Dataset[Tensor]):
    """uint8 [3, H, W], 0 to 255, of uint8 levels [N, C, H, W]."""

    def __init__(self, images: Tensor, levels: int) -> None:
        self.rgb = to_rgb(images, levels).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, index: int) -> Tensor:
        return self.rgb[index]
