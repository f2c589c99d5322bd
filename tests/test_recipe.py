"""What decides a feature's numbers decides its recipe's digest, and nothing else does."""

from dataclasses import replace

import pytest

from tlfeat.data.resize import Resize
from tlfeat.errors import TlfeatError, UnknownName, WeightsError
from tlfeat.features.recipe import Recipe, find_weights, parse_spec
from tlfeat.features.settings import FeatureSettings


def digest(backbone="efficientnet-lite0", spec="last:avg", **settings):
    return FeatureSettings(backbone, spec, **settings).resolve().recipes[0].digest


def test_equal_settings_give_equal_recipes():
    assert digest() == digest()


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "efficientnet-lite1"},
        {"spec": "last:max"},
        {"spec": "stage4:avg"},
        {"size": 96},
        {"resize": Resize(rule="crop")},
        {"weights": "random"},
        {"precision": "mixed"},
        {"dtype": "float16"},
    ],
    ids=str,
)
def test_whatever_changes_a_number_changes_the_recipe(change):
    assert digest(**change) != digest()


def test_random_weights_of_another_seed_are_another_recipe():
    assert digest(weights="random", seed=1) != digest(weights="random", seed=2)


def test_a_recipe_survives_json():
    recipe = FeatureSettings("efficientnet-lite0", "stage4:grid4").resolve().recipes[0]
    again = Recipe.from_dict(recipe.as_dict())
    assert again == recipe
    assert again.digest == recipe.digest


def test_an_entry_is_named_after_its_recipe():
    recipe = FeatureSettings("efficientnet-lite0", "stage4:grid4", size=96).resolve().recipes[0]
    assert recipe.entry_name == f"efficientnet-lite0-96-stage4-grid4-{recipe.digest[:10]}"


def test_joined_parts_are_recipes_of_their_own():
    joined = FeatureSettings("efficientnet-lite0", "stage4:grid4+last").resolve()
    assert [(r.layer, r.pool) for r in joined.recipes] == [("stage4", "grid4"), ("last", "avg")]
    assert joined.recipes[1].digest == digest()


@pytest.mark.parametrize("spec", ["", "last:mean", ":avg", "last:grid0", "last:avg+", "last+last"])
def test_a_spec_that_cannot_be_read_is_refused(spec):
    with pytest.raises(TlfeatError, match="Features"):
        parse_spec(spec)


def test_an_unknown_layer_is_refused():
    with pytest.raises(UnknownName, match="stage9"):
        FeatureSettings("efficientnet-lite0", "stage9:avg").resolve()


def test_a_size_that_the_network_cannot_see_is_refused():
    with pytest.raises(TlfeatError, match="size must be 32 to"):
        FeatureSettings("efficientnet-lite0", size=8).resolve()


def test_random_weights_of_another_keras_are_named_whole():
    (recipe,) = FeatureSettings(weights="random", seed=3).resolve().recipes
    assert find_weights(recipe).digest == recipe.weights
    other = replace(recipe, weights="random:3:0.0.1")
    with pytest.raises(WeightsError, match=r"wanted random:3:0\.0\.1\): this version of Keras"):
        find_weights(other)
