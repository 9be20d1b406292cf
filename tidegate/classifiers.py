# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""A classifier for estimators that accept no other classes than 0, 1, 2 and so on, as XGBoost's do.

It is in the core because servers build it too, under the default policy. It needs scikit-learn, which the
extras ``training`` and ``serving`` install; no other module of the core imports this one.

>>> from sklearn.tree import DecisionTreeClassifier
>>> classifier = LabelEncodedClassifier(DecisionTreeClassifier()).fit([[0], [1]], ["no", "yes"])
>>> classifier.estimator_.classes_.tolist(), classifier.predict([[1]]).tolist()
([0, 1], ['yes'])
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone

Array = NDArray[Any]


class LabelEncodedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """A classifier that receives the number of each class, in the order of the classes.

    Args:
        estimator: The unfitted classifier, which computes probabilities.

    Attributes:
        estimator_: The fitted classifier.
        classes_: ``[classes]``, the sorted classes.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit a copy of the classifier to the numbers of the classes.

        Args:
            X: ``[rows, features]``.
            y: ``[rows]``, the classes.
            sample_weight: ``[rows]``, or None for equal weights.
        """
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.estimator_ = clone(self.estimator).fit(X, numbers, sample_weight=sample_weight)
        return self

    def predict(self, X: Any) -> Array:
        """Compute the classes, ``[rows]``."""
        return np.asarray(self.classes_[self.estimator_.predict(X)])

    def predict_proba(self, X: Any) -> Array:
        """Compute the probabilities of the classes, ``[rows, classes]``."""
        return np.asarray(self.estimator_.predict_proba(X))

    @property
    def n_features_in_(self) -> int:
        """The number of features."""
        return int(self.estimator_.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = self.estimator.__sklearn_tags__().input_tags
        return tags
