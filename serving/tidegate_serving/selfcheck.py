# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
"""Golden questions: the last check before a model is ready.

The questions travel as a client's request would, through decoding, engine and encoding, and their answers
must be those that scikit-learn itself gave in training.
"""

import orjson

from tidegate.contract import close
from tidegate.errors import BundleError
from tidegate.protocol.requests import v2_body
from tidegate_serving.batching.runner import run_batch
from tidegate_serving.codecs import decode, encode
from tidegate_serving.codecs.request import Limits
from tidegate_serving.errors import RequestError
from tidegate_serving.loading.loader import LoadedModel


def check(model: LoadedModel, limits: Limits) -> int:
    """Ask the contract's golden questions.

    Returns:
        How many rows were asked.

    Raises:
        BundleError: An answer is another than in training, or the model does not take its own golden rows.
    """
    contract, golden = model.contract, model.contract.golden
    try:
        question = decode.v2(contract, v2_body(contract, golden.rows), None, limits)
    except RequestError as error:
        raise BundleError(f"The golden questions are not what the contract itself allows: {error}") from None
    result = run_batch(model.engine, [question.batch])[0]
    if isinstance(result, RequestError):
        raise BundleError("The model fails on its golden questions; the log says why.")
    body, _ = encode.v2(contract.name, model.version, question, result)
    for tensor in orjson.loads(body)["outputs"]:
        name, width = tensor["name"], tensor["shape"][1] if len(tensor["shape"]) == 2 else None
        data = tensor["data"]
        answers = data if width is None else [data[i : i + width] for i in range(0, len(data), width)]
        expected = golden.outputs[name]
        for row, (answer, known) in enumerate(zip(answers, expected, strict=True)):
            if not close(answer, known, golden.tolerance):
                raise BundleError(
                    f"Golden question {row} is answered with {name} {answer}, expected {known} within "
                    f"{golden.tolerance}: the model does not do here what it did in training."
                )
    return len(golden.rows)
