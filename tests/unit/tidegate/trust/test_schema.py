# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Legitimate forms of archives; tests.attacks has the crafted ones."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from skops.io import dumps

from tests.support.archives import altered_root
from tidegate.errors import BundleError
from tidegate.trust.archive import build_pipeline
from tidegate.trust.policy import TRUSTED_TYPES, Policy
from tidegate_training.bundling.persistence import to_skops

X = np.eye(3)


def test_build_accepts_numbers_as_keys_of_a_parameter() -> None:
    model = LogisticRegression(class_weight={0: 1.0, 1: 2.0, 2: 1.0}).fit(X, [0, 1, 2])
    assert build_pipeline(to_skops(model), Policy()).class_weight == {0: 1.0, 1: 2.0, 2: 1.0}


def test_build_accepts_what_skops_itself_saves() -> None:
    assert build_pipeline(dumps(LogisticRegression().fit(X, [0, 1, 1])), Policy()).n_features_in_ == 3


def test_to_skops_drops_the_type_of_the_key_it_drops() -> None:
    vectorizer = CountVectorizer(stop_words=["the"]).fit(["the sea", "a ship"])
    vectorizer.transform(["the ship"])
    assert build_pipeline(to_skops(vectorizer), Policy()).transform(["a ship"]).toarray().tolist() == [[0, 1]]


def test_build_runs_a_constructor_of_a_trusted_own_type() -> None:
    import datetime

    zone, name = datetime.timezone(datetime.timedelta(hours=2)), "datetime.timezone"
    policy = Policy(TRUSTED_TYPES | {name, "datetime.timedelta"})
    assert build_pipeline(to_skops({"zone": zone}), policy)["zone"] == zone

    def disguise(root: dict) -> None:
        root["content"]["zone"] |= {"__module__": "sklearn.linear_model._ridge", "__class__": "Ridge"}

    with pytest.raises(BundleError, match="runs what the archive names"):
        build_pipeline(altered_root(to_skops({"zone": zone}), disguise), policy)
