"""The table of heads and the reading of their settings."""

import subprocess
import sys
from typing import Any

import pytest

from tlfeat.errors import HeadError, UnknownName
from tlfeat.heads.settings import plan_settings
from tlfeat.heads.table import (
    HEADS,
    check_class_weight,
    check_settings,
    get_head,
    list_heads,
)


def test_listing_heads_loads_no_numeric_library() -> None:
    code = (
        "import sys, tlfeat.heads.table as t; t.list_heads(); "
        "print([m for m in ('numpy', 'pandas', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fitting_is_imported_without_scikit_learn() -> None:
    code = (
        "import sys, tlfeat.heads.fit, tlfeat.heads.persist, tlfeat.heads.kernel, "
        "tlfeat.heads.linear, tlfeat.heads.network; print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["svm-rbf", "svm_rbf", "SVM-RBF"])
def test_a_head_is_found_by_any_spelling(name: str) -> None:
    assert get_head(name).name == "svm-rbf"


def test_an_unknown_head_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'logistic'"):
        get_head("logistics")


def test_heads_are_listed_by_pattern() -> None:
    assert [head.name for head in list_heads("svm-*")] == ["svm-linear", "svm-rbf", "svm-nystroem"]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_every_grid_and_default_is_a_value_that_its_setting_reads(head: Any) -> None:
    for setting in head.settings:
        for value in (setting.default, *setting.grid):
            assert setting.read(head.name, value) == value


def test_every_head_but_knn_weighs_classes_or_says_who_does() -> None:
    for head in HEADS:
        if head.balanced:
            check_class_weight(head, "balanced")
        else:
            with pytest.raises(HeadError, match=r"these can be balanced: logistic, lda"):
                check_class_weight(head, "balanced")


@pytest.mark.parametrize(
    ("head", "given", "read"),
    [
        ("logistic", {"C": "1"}, {"C": 1.0}),
        ("logistic", {"C": "0.1,1"}, {"C": (0.1, 1.0)}),
        ("logistic", {"C": [0.1, 1]}, {"C": (0.1, 1.0)}),
        ("mlp", {"hidden": "512-256"}, {"hidden": "512-256"}),
        ("mlp", {"hidden": [512, 256]}, {"hidden": "512-256"}),
        ("mlp", {"hidden": 64}, {"hidden": "64"}),
        ("mlp", {"hidden": "64,128-32"}, {"hidden": ("64", "128-32")}),
        ("svm-rbf", {"gamma": "0.3*scale"}, {"gamma": "0.3*scale"}),
        ("svm-rbf", {"gamma": "1*scale"}, {"gamma": "scale"}),
        ("svm-rbf", {"gamma": 0.01}, {"gamma": 0.01}),
        ("knn", {"k": "5", "metric": "euclidean"}, {"k": 5, "metric": "euclidean"}),
        ("nearest-centroid", {"shrink": 0}, {"shrink": 0.0}),
    ],
)
def test_a_setting_is_read(head: str, given: dict[str, Any], read: dict[str, Any]) -> None:
    assert check_settings(head, given) == read


@pytest.mark.parametrize(
    ("head", "given", "message"),
    [
        ("logistic", {"penalty": 1}, "no setting 'penalty'. It has C, max_iter"),
        ("mlp", {"aplha": 1}, "Did you mean 'alpha'"),
        ("logistic", {"C": "much"}, "must be a number above 0; got 'much'"),
        ("logistic", {"C": 0}, "above 0; got 0"),
        ("logistic", {"C": "nan"}, "above 0; got 'nan'"),
        ("logistic", {"C": True}, "above 0; got True"),
        ("logistic", {"max_iter": 1.5}, "a whole number of at least 1; got 1.5"),
        ("lda", {"shrinkage": 2}, "above 0 and of at most 1; got 2"),
        ("knn", {"metric": "manhattan"}, "one of cosine, euclidean"),
        ("mlp", {"hidden": "256-0"}, "as in 512-256; got '256-0'"),
        ("svm-rbf", {"gamma": "auto"}, "got 'auto'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(head: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(HeadError) as caught:
        check_settings(head, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_given_values_are_fixed_and_the_rest_is_searched() -> None:
    settings = get_head("svm-rbf").settings
    fixed, grid = plan_settings("svm-rbf", settings, {"gamma": "scale"}, search=True)
    assert fixed == {"gamma": "scale"}
    assert list(grid) == ["C"]


def test_a_zero_that_is_given_is_not_taken_for_nothing() -> None:
    settings = get_head("nearest-centroid").settings
    assert plan_settings("nearest-centroid", settings, {"shrink": 0}, True) == ({"shrink": 0}, {})


def test_without_a_search_everything_is_fixed() -> None:
    for head in HEADS:
        fixed, grid = plan_settings(head.name, head.settings, {}, search=False)
        assert not grid
        assert set(fixed) == {setting.name for setting in head.settings}


def test_several_values_need_a_search() -> None:
    settings = get_head("logistic").settings
    with pytest.raises(HeadError, match="several values"):
        plan_settings("logistic", settings, {"C": (1.0, 2.0)}, search=False)
