#!/bin/sh
# Fill /opt/tidegate, the environment of an image: first the locked dependencies, then Tidegate itself.
set -eu
uv=/opt/tools/bin/uv
environment=/opt/tidegate
stamp="$environment/.dependencies"
# Bytecode that is never compared with its source, because the root file system is read-only at run time and a fast
# start adds a replica sooner.
compile="$environment/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash"

case "$1" in
dependencies)
    "$uv" venv --quiet --python python3 "$environment"
    # Wheels only, because the image has no compiler. The lock is complete, and overrides a limit of KServe.
    "$uv" pip install --quiet --python "$environment/bin/python" --only-binary :all: --no-deps --require-hashes -r "$2"
    # The dependencies' tests are not needed at run time.
    find "$environment"/lib -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
    $compile "$environment/lib"
    touch "$stamp"
    ;;
tidegate)
    "$uv" pip install --quiet --python "$environment/bin/python" --no-deps --no-index "$2"/*.whl
    # Compile only the folders that are newer, because compiling the dependencies again would take longest.
    find "$environment"/lib/python*/site-packages -mindepth 1 -maxdepth 1 -type d -newer "$stamp" \
        -exec $compile {} +
    ;;
*)
    echo "usage: install.sh dependencies LOCK | tidegate FOLDER" >&2
    exit 2
    ;;
esac
