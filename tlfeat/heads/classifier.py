"""A head as a scikit-learn estimator, for pipelines, searches and cross-validation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tlfeat.heads.fit import fit_head
from tlfeat.heads.fitting import FittedHead


class HeadClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A head whose settings are chosen on five folds of what it is fitted to.

    Parameters
    ----------
    head : str
        A name of `list_heads`.
    params : mapping, optional
        Settings that are given, not searched; several values for one are searched.
    search : bool
        Use the defaults of the other settings if False. The folds still say the temperature of
        the probabilities.
    class_weight : {None, "balanced"}
        "balanced" gives every class the same total weight.
    random_state : int
        Of the folds and of what a head draws.
    n_jobs : int, optional
        Threads; one if None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    head_ : FittedHead
        The trained head, its search and its out-of-fold probabilities.
    chosen_ : mapping
        What the search chose.
    temperature_ : float
        What the scores are divided by before they become probabilities.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = HeadClassifier("lda").fit(X[:400], y[:400])
    >>> bool(model.score(X[400:], y[400:]) > 0.8)
    True
    """

    def __init__(
        self,
        head: str = "logistic",
        *,
        params: Mapping[str, Any] | None = None,
        search: bool = True,
        class_weight: str | None = None,
        random_state: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.head = head
        self.params = params
        self.search = search
        self.class_weight = class_weight
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, groups: npt.ArrayLike | None = None
    ) -> "HeadClassifier":
        """Choose the head's settings and train it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, not standardised.
        y : array-like of shape (n_samples,)
            Labels, of any kind.
        groups : array-like of shape (n_samples,), optional
            Rows of one group are never in two folds.

        Returns
        -------
        self : HeadClassifier

        Raises
        ------
        ValueError
            If `X` and `y` make no sense, or there is one class only.
        TlfeatError
            If there is no such head or setting, or the data do not allow it.
        """
        rows, labels = validate_data(self, X, y, dtype=(np.float32, np.float64))
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{len(rows)} samples of 1 class: a head needs two classes or more.")
        self.head_: FittedHead = fit_head(
            self.head,
            rows,
            codes,
            n_classes=len(self.classes_),
            groups=groups,
            params=self.params,
            search=self.search,
            class_weight=self.class_weight,
            seed=self.random_state,
            jobs=self.n_jobs or 1,
        )
        self.chosen_, self.temperature_ = self.head_.chosen, self.head_.temperature
        return self

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
        """Give the probability of each class; (n_samples, n_classes)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float32, np.float64), reset=False)
        return self.head_.scores(rows)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Give the most probable label of each row; (n_samples,)."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: npt.NDArray[Any] = self.classes_[best]
        return labels
