"""Heads as layers of Keras give the probabilities that they give as scikit-learn."""

import numpy as np
import pytest

from tlfeat.backbones.keras_runtime import import_keras
from tlfeat.deploy.head_layers import head_layers
from tlfeat.errors import TlfeatError
from tlfeat.heads.fit import fit_head
from tlfeat.heads.persist import load_head, save_head
from tlfeat.heads.table import list_heads
from tlfeat.heads.trained import TrainedHead

D = 12


def rows(k, n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    X = rng.normal(size=(k, D))[y] * 0.9 + rng.normal(size=(n, D))
    return (3 * X + 1).astype(np.float32), y


def difference(head, queries):
    keras = import_keras()
    x = keras.Input((queries.shape[1],))
    network = keras.Model(x, head_layers(keras, head, x))
    answers = network.predict(queries, verbose=0)
    assert answers.shape == (len(queries), head.n_classes)
    return np.abs(answers - head.scores(queries)).max()


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("name", [head.name for head in list_heads()])
def test_layers_say_what_the_head_says(tmp_path, name, k):
    X, y = rows(k)
    params = {} if name != "svm-nystroem" else {"components": 30}
    fitted = fit_head(name, X, y, n_classes=k, params=params)
    head = load_head(save_head(fitted, tmp_path / "head.skops", classes=list("abcde")[:k]))
    assert difference(head, rows(k, 200, seed=1)[0]) < 1e-5


@pytest.mark.parametrize("name", ["logistic", "svm-rbf", "knn"])
def test_a_class_that_train_lacked_has_nothing(name):
    X, y = rows(3)
    fitted = fit_head(name, X, np.array([0, 2, 3])[y], n_classes=5)
    assert difference(fitted, rows(3, 50, seed=1)[0]) < 1e-5


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_rows_next_to_those_of_train_are_weighed_alike(weights, metric):
    X, y = rows(3)
    given = {"weights": weights, "metric": metric, "k": 5}
    head = fit_head("knn", X, y, n_classes=3, params=given)
    near = X + np.random.default_rng(2).normal(0, 0.2, X.shape).astype(np.float32)
    assert difference(head, near) < 1e-4


def test_members_of_an_ensemble_take_their_own_columns():
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline

    X, y = rows(3)
    last = slice(4, D)
    columns = ColumnTransformer([("a", "passthrough", last), ("b", "drop", slice(0, 4))])
    inner = Pipeline([("columns", columns), ("head", LogisticRegression())]).fit(X, y)
    assert difference(TrainedHead("logistic", inner, {}, "probability", 3), X) < 1e-5


def test_scores_that_are_no_probabilities_and_other_estimators_are_refused():
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import Pipeline

    X, y = rows(3)
    old = TrainedHead("lda", None, {}, "score", 3)
    other = TrainedHead("lda", Pipeline([("head", GaussianNB())]).fit(X, y), {}, "probability", 3)
    with pytest.raises(TlfeatError, match="before heads gave probabilities"):
        difference(old, X)
    with pytest.raises(TlfeatError, match="no layers for a GaussianNB"):
        difference(other, X)
