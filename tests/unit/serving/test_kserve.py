# SPDX-FileCopyrightText: The Tidegate authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys


def output_of(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_kserve_import_brings_no_needless_modules() -> None:
    needless = ("pandas", "psutil", "httpx._main", "kserve.api", "kserve.models", "kubernetes")
    program = f"import sys, tidegate_serving._kserve; print([n for n in {needless} if n in sys.modules])"
    assert output_of(program) == "[]"


def test_kserve_import_leaves_the_command_line_unchanged() -> None:
    program = (
        "import sys; sys.argv = ['x', '--timeout', '7'];"
        "import tidegate_serving._kserve, kserve.model_server as server;"
        "print(server.args.timeout_keep_alive, sys.argv)"
    )
    assert output_of(program) == "65 ['x', '--timeout', '7']"


def test_kserve_is_complete_after_serving_imports_a_part() -> None:
    program = (
        "import tidegate_serving._kserve as part, sys;"
        "import kserve, httpx;"
        "from kserve import KServeClient, V1beta1InferenceService as Service;"
        "tensor = kserve.InferInput('a', [2], 'INT64', [1, 2]);"
        "frame = kserve.InferRequest('m', [tensor]).as_dataframe();"
        "import pandas;"
        "assert isinstance(frame, pandas.DataFrame) and list(frame['a']) == [1, 2];"
        "assert kserve.utils.cpu_count() >= 1;"
        "assert kserve.Model is part.Model and kserve.ModelServer is part.ModelServer;"
        "assert callable(httpx.main) and Service(kind='InferenceService').kind == 'InferenceService';"
        "print(kserve.constants.KSERVE_KIND_INFERENCESERVICE, KServeClient.__module__)"
    )
    assert output_of(program) == "InferenceService kserve.api.kserve_client"
