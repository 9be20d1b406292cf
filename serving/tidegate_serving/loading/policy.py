# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The deployer's policy: which types a bundle may have built, and whose pickles may be opened.

It comes from the server's options, never from the bundle. The default lets every classifier and regressor of
scikit-learn load but ``TunedThresholdClassifierCV``, whose state holds a function, and opens no pickle.
"""

import re
from dataclasses import dataclass

from tidegate.digest import parse_digest
from tidegate.errors import ConfigurationError

_KERNELS = (
    "CompoundKernel",
    "ConstantKernel",
    "DotProduct",
    "ExpSineSquared",
    "Exponentiation",
    "Matern",
    "PairwiseKernel",
    "Product",
    "RBF",
    "RationalQuadratic",
    "Sum",
    "WhiteKernel",
)

TRUSTED_TYPES = frozenset(
    {
        # Trees: their node arrays are checked by tidegate_serving.loading.tree_bounds before any of them is built.
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        # Types that fitted estimators are made of, and that skops does not trust by itself.
        "numpy.dtype",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.utils._bunch.Bunch",
    }
    | {f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS}
)
"""The policy ``sklearn``: trusted beside scikit-learn's public estimators, which skops itself trusts."""

_TYPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a server may build from a bundle.

    Args:
        trusted: Full names of types that may be built, beside those that skops trusts by itself.
        joblib_digests: Bundles whose ``model.joblib`` may be opened, which runs whatever code it holds; kept
            without the ``sha256:`` that may stand in front.

    Raises:
        ConfigurationError: A name is no type's full name, or a digest no SHA-256.
    """

    trusted: frozenset[str] = TRUSTED_TYPES
    joblib_digests: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in self.trusted:
            if not _TYPE.fullmatch(name):
                raise ConfigurationError(
                    f"The policy cannot trust '{name}': expected the full name of one type, like "
                    "'package.module.Type'."
                )
        digests = frozenset(map(parse_digest, self.joblib_digests))
        object.__setattr__(self, "joblib_digests", digests)  # the dataclass is frozen for all others
