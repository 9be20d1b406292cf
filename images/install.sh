#!/bin/sh
# Fill /opt/tidegate, the environment that an image carries: first the locked dependencies, then Tidegate itself.
set -eu
uv=/opt/tools/bin/uv
environment=/opt/tidegate
stamp="$environment/.dependencies"
# Bytecode that never looks at its source again: the root file system is read-only at run time, and how fast
# a process starts is how fast a replica helps.
compile="$environment/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash"

case "$1" in
dependencies)
    "$uv" venv --quiet --python python3 "$environment"
    "$uv" pip install --quiet --python "$environment/bin/python" --require-hashes -r "$2"
    # Other people's test suites serve nobody.
    find "$environment"/lib -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
    $compile "$environment/lib"
    touch "$stamp"
    ;;
tidegate)
    "$uv" pip install --quiet --python "$environment/bin/python" --no-deps --no-index "$2"/*.whl
    # Only what has come since then: compiling the dependencies once more would take longer than all the rest.
    find "$environment"/lib/python*/site-packages -mindepth 1 -maxdepth 1 -type d -newer "$stamp" \
        -exec $compile {} +
    ;;
*)
    echo "usage: install.sh dependencies LOCK | tidegate FOLDER" >&2
    exit 2
    ;;
esac
