import subprocess
import sys

import pytest

from tlfeat.backbones.table import BACKBONES, get_backbone, list_backbones
from tlfeat.errors import UnknownName


@pytest.mark.parametrize(
    "spelling",
    ["EfficientNet-Lite0", "efficientnet_lite0", "EFFICIENTNETLITE0", " efficientnet-lite0 "],
)
def test_dashes_underscores_and_capitals_make_no_difference(spelling):
    assert get_backbone(spelling).name == "efficientnet-lite0"


def test_the_spelling_of_keras_is_found_for_every_network():
    for row in list_backbones():
        assert get_backbone(row.builder) is row


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'mobilenet_v2'"):
        get_backbone("mobilnet_v2")


def test_wildcards_and_parts_of_names_select_rows():
    assert [row.name for row in list_backbones("resnet*_v2")] == [
        "resnet50_v2",
        "resnet101_v2",
        "resnet152_v2",
    ]
    assert {row.family for row in list_backbones("convnext")} == {"convnext"}
    assert list_backbones("nothing*") == []
    assert list_backbones() == list(BACKBONES.values())


def test_every_row_states_what_a_reader_asks_for():
    for row in list_backbones():
        assert row.licence
        assert row.summary.startswith(row.name)
        assert row.min_size <= row.size
        assert len(row.stages) == 5
        assert len({row.weights.file for row in list_backbones()}) == len(BACKBONES)


def test_the_table_costs_nothing_to_import():
    code = (
        "import sys, tlfeat.backbones.table; "
        "print([m for m in ('numpy', 'keras', 'tensorflow', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_rooms_modules_import_no_engine():
    code = (
        "import sys, tlfeat.backbones.engines, tlfeat.backbones.weights; "
        "print([m for m in ('keras', 'tensorflow', 'openvino') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
