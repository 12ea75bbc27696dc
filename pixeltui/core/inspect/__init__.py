"""What a model does inside, and whether it, its masks and its sampler are right. Works on any trunk and head.

from pixeltui.core import inspect

inspect.check_causality(model, images, labels).leak          # None, or which sub-pixel tells on which
inspect.check_sampler(model).off                             # 0: what the naive loop draws from the same noise
inspect.receptive_field(model, images, labels).support       # bool [H, W]
with inspect.Recorder(model) as recorder:
    bits = inspect.score(model, images, labels)              # [N, C, H, W]
recorder.statistics()                                        # of every layer
"""

from pixeltui.core.inspect.causality import Causality, Leak, check_causality
from pixeltui.core.inspect.field import Field, receptive_field
from pixeltui.core.inspect.layers import FeatureMaps, LayerStatistics, Recorder, feature_maps, score
from pixeltui.core.inspect.sampling import SamplerCheck, check_sampler

__all__ = [
    "Causality",
    "FeatureMaps",
    "Field",
    "LayerStatistics",
    "Leak",
    "Recorder",
    "SamplerCheck",
    "check_causality",
    "check_sampler",
    "feature_maps",
    "receptive_field",
    "score",
]
