# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from tidegate.classifiers import LabelEncodedClassifier
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import Policy
from tidegate_training.bundling.persistence import to_skops

ROWS = np.array([[0.0], [0.1], [0.9], [1.0]])
CLASSES = ["no", "no", "yes", "yes"]


def test_label_encoded_classifier_fits_the_numbers_of_the_classes() -> None:
    classifier = LabelEncodedClassifier(LogisticRegression(C=1e6)).fit(ROWS, CLASSES)
    assert classifier.estimator_.classes_.tolist() == [0, 1]
    assert classifier.classes_.tolist() == ["no", "yes"]
    assert classifier.predict(ROWS).tolist() == CLASSES
    assert (classifier.predict_proba(ROWS)[:, 1] > 0.5).tolist() == [False, False, True, True]
    assert classifier.n_features_in_ == 1


def test_label_encoded_classifier_passes_weights() -> None:
    classifier = LabelEncodedClassifier(LogisticRegression())
    equal, weighted = (clone(classifier).fit(ROWS, CLASSES, w) for w in (None, [1, 1, 9, 9]))
    assert (weighted.predict_proba(ROWS)[:, 1] > equal.predict_proba(ROWS)[:, 1]).all()


def test_label_encoded_classifier_leaves_its_estimator_unfitted() -> None:
    classifier = LabelEncodedClassifier(LogisticRegression())
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier)
    classifier.fit(ROWS, CLASSES)
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier.estimator)


def test_label_encoded_classifier_has_the_tags_of_its_estimator() -> None:
    tags = LabelEncodedClassifier(LogisticRegression()).__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.sparse
    assert not tags.input_tags.allow_nan


def test_label_encoded_classifier_is_built_under_the_default_policy() -> None:
    classifier = LabelEncodedClassifier(LogisticRegression()).fit(ROWS, CLASSES)
    assert build_pipeline(to_skops(classifier), Policy()).predict(ROWS).tolist() == CLASSES
