#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Sets up .venv with sgxlens built from this tree. Usage: tools/setup.sh demo|validate|dev
#   demo      what `make demo` needs: the package and ONNX Runtime
#   validate  also PyTorch, if it can be installed
#   dev       also the tests' and linters' packages, and those of the report's front end; PyTorch
#             only where CI=true, for its size
# What the system lacks comes from apt, where the user may install packages; else one line says what
# to run. Nothing is done twice: stamps in .venv say what it was made from.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-dev}
venv=.venv
log=build/setup.log
torch=torch==2.13.0
mkdir -p build
export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}

# Runs a command whose output is of interest only if it fails.
quietly() {
    local what=$1
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        fail "$what failed; the whole output is in $log"
    fi
}

# ---- what the system must have ----

is_new_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        if is_new_python "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}

is_new_cmake() {
    local version
    version=$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*//p') || return 1
    [ -n "$version" ] && [ "$(printf '%s\n' 3.22 "$version" | sort -V | head -n 1)" = 3.22 ]
}

is_new_node() { node -e 'process.exit(process.versions.node.split(".")[0] < 18 ? 1 : 0)' 2>/dev/null; }

can_link_valgrind() {
    [ -e /usr/include/valgrind/pub_tool_tooliface.h ] &&
        compgen -G '/usr/lib*/x86_64-linux-gnu/valgrind/libcoregrind-amd64-linux.a' \
            '/usr/lib*/valgrind/libcoregrind-amd64-linux.a' >/dev/null
}

# Sets `missing` to the packages, by Debian's names, that are not there.
find_missing() {
    missing=()
    python=$(find_python)
    if [ -z "$python" ]; then
        missing+=(python3 python3-venv python3-dev)
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
        "$python" -c 'import os, sysconfig
raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
            missing+=(python3-dev)
    fi
    command -v g++ >/dev/null || missing+=(g++)
    is_new_cmake || missing+=(cmake)
    command -v make >/dev/null || missing+=(make)
    if [ "$(uname -m)" = x86_64 ]; then
        can_link_valgrind || missing+=(valgrind)
    fi
}

has_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

find_missing
if [ ${#missing[@]} -gt 0 ]; then
    install="apt-get install -y --no-install-recommends ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        fail "missing: ${missing[*]} (Debian's names): install them with your package manager"
    elif [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n DEBIAN_FRONTEND=noninteractive"
    else
        fail "missing: ${missing[*]}; run: sudo apt-get update && sudo $install"
    fi
    say "installing ${missing[*]} with apt"
    quietly "apt-get update" $as_root apt-get update
    quietly "$install" $as_root $install
    find_missing
    [ ${#missing[@]} -eq 0 ] ||
        fail "apt installed packages, yet these are missing or too old: ${missing[*]} (Python >= 3.10, CMake >= 3.22)"
fi

has_npm() { is_new_node && command -v npm >/dev/null; }

# Installs what only some tests need, which say that they are skipped without it: Ubuntu 22.04's
# Node.js is too old, and Ubuntu's Chromium a snap, which apt cannot install everywhere.
try_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $* with apt"
    { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null
}

if [ "$profile" = dev ]; then
    has_npm || { try_apt nodejs npm && has_npm; } ||
        say "no Node.js >= 18 with npm: the script of reports is not built anew and compared"
    has_chromium >/dev/null || try_apt chromium ||
        say "no Chromium: tests in a browser are skipped"
fi

# ---- the virtual environment ----

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    quietly "making $venv" "$python" -m venv "$venv"
fi
pip() { "$venv/bin/python" -m pip "$@"; }

# Does nothing if the stamp says that it was done with this input.
once() {
    local name=$1 input=$2 what=$3
    shift 3
    if [ "$(cat "$venv/stamp-$name" 2>/dev/null)" != "$input" ]; then
        say "$what"
        quietly "$what" "$@"
        echo "$input" >"$venv/stamp-$name"
    fi
}

# 25.1 is the first that knows dependency groups.
once pip ">=25.1" "upgrading pip" pip install --upgrade 'pip>=25.1'
packages=$(sha256sum <pyproject.toml)
once build "$packages" "installing what the build needs" pip install --group build
if [ "$profile" = dev ]; then
    once dev "$packages" "installing what the tests need" pip install --group dev
fi

if [ "$profile" = dev ] && has_npm; then
    [ -d web/node_modules ] || rm -f "$venv/stamp-web"
    once web "$(cat web/package-lock.json | sha256sum)" "installing what the report is built with" \
        npm ci --prefix web --ignore-scripts --no-audit --no-fund
fi

# An editable installation: Python sources are used where they are, what is compiled is compiled
# anew when a source of it changed. The list of Python files counts too, for modules that are gone.
sources=$(
    {
        find native tracer CMakeLists.txt pyproject.toml -type f -print0 | sort -z | xargs -0 sha256sum
        find src -type f -name '*.py' | sort
        cat /usr/include/valgrind/config.h 2>/dev/null || true
    } | sha256sum
)
once package "$sources" "building sgxlens" pip install --no-build-isolation --editable '.[onnx]'

install_torch() { once torch "$torch" "installing $torch" pip install "$torch"; }
if [ "$profile" = validate ]; then
    (install_torch) || say "without PyTorch: what needs it is left out"
elif [ "$profile" = dev ] && [ "${CI:-}" = true ]; then
    install_torch
fi
