# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""The deployer's policy: signers, sizes, types that a bundle may have built, and pickles that may be loaded.

The policy comes from the deployer's file and options, never from the bundle. The default trusts the types of
every classifier, regressor, clusterer and outlier detector of scikit-learn that skops saves, except
``TunedThresholdClassifierCV``, whose state holds functions that it calls. It allows no pickle, and requires
no signature. :mod:`tidegate.trust.policy_file` reads a policy, :mod:`tidegate.trust.admission` applies it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from tidegate.digest import parse_digest
from tidegate.errors import ConfigurationError

if TYPE_CHECKING:
    from tidegate.trust.signers import TrustedSigner  # needs cryptography, which takes time to import

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
        # Trees: tree_bounds checks their node arrays after they are built.
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        # Parts of fitted estimators that skops does not trust by default.
        "numpy.dtype",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        # Nodes of clusters, each with a center and two children; the function is of arrays and runs in fit.
        "sklearn.cluster._bisect_k_means._BisectingTree",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
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
        # A classifier of the project; its state is an estimator, whose type is audited, and an array.
        "tidegate.classifiers.LabelEncodedClassifier",
        # A recommender of the project; its state is numbers, and arrays of numbers and texts.
        "tidegate.recommenders.ImplicitALS",
        # Networks of the project; their state is names of operations, numbers and arrays.
        "tidegate.networks.NetworkClassifier",
        "tidegate.networks.NetworkRegressor",
        # Transformers of the project; their state is a list of names and a type of numbers.
        "tidegate.transformers.DatetimeDifference",
        "tidegate.transformers.DatetimeEncoder",
    }
    | {f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS}
)
"""The types that are trusted in addition to scikit-learn's public estimators, which skops trusts by
default."""

_TYPE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


@dataclass(frozen=True, slots=True)
class Policy:
    """The deployer's decisions on the bundles that may be used, and on what may be built from them.

    Args:
        trusted_types: Full names of types that may be built, in addition to those that skops trusts by
            default.
        allowed_joblib_digests: Digests of bundles whose ``model.joblib`` may be loaded, which can run any
            code. The prefix ``sha256:`` is optional, and removed.
        signers: The signers of whom one must have signed a bundle. Empty if no signature is required.
        revoked: Digests of bundles, public keys and certificates that are trusted no longer, with the same
            optional prefix.
        max_bundle_bytes: The largest size of a bundle's files together; None for no limit.

    Raises:
        ConfigurationError: If a name is not the full name of one type, or a digest is not a SHA-256.
    """

    trusted_types: frozenset[str] = TRUSTED_TYPES
    allowed_joblib_digests: frozenset[str] = frozenset()
    signers: tuple["TrustedSigner", ...] = ()
    revoked: frozenset[str] = frozenset()
    max_bundle_bytes: int | None = None

    @classmethod
    def trusting(cls, types: Iterable[str] = (), joblib_digests: Iterable[str] = ()) -> Self:
        """Return the default policy with additional types, and with pickles of these digests."""
        return cls().adding(types, joblib_digests)

    def adding(self, types: Iterable[str] = (), joblib_digests: Iterable[str] = ()) -> Self:
        """Return this policy with additional types, and with pickles of these digests."""
        return replace(
            self,
            trusted_types=self.trusted_types | frozenset(types),
            allowed_joblib_digests=self.allowed_joblib_digests | frozenset(joblib_digests),
        )

    def __post_init__(self) -> None:
        for name in self.trusted_types:
            if not _TYPE_NAME.fullmatch(name):
                raise ConfigurationError(
                    f"The policy cannot trust '{name}': expected the full name of one type, such as "
                    "'package.module.Type'."
                )
        for field in ("allowed_joblib_digests", "revoked"):
            digests = frozenset(map(parse_digest, getattr(self, field)))
            object.__setattr__(self, field, digests)  # the dataclass is frozen
