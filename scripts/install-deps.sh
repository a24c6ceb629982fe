#!/usr/bin/env bash
# Installs what building shoehorn needs from Debian's or Ubuntu's own packages, and nothing that is
# there already: with everything in place it asks nobody for anything and needs no network.
#
#   scripts/install-deps.sh build          compiler, CMake, libraries
#   scripts/install-deps.sh build test     and what the tests need
#   scripts/install-deps.sh build demo     and what fetches the default model
#
# docs/dependencies.md says what each package is for.
set -euo pipefail

note() { printf '== %s\n' "$*" >&2; }
die() { printf 'install-deps: %s\n' "$*" >&2; exit 1; }

missing=()

# need_program PROGRAM PACKAGE: a program counts wherever it comes from.
need_program() {
  command -v "$1" >/dev/null || missing+=("$2")
}

# need_library PACKAGE
need_library() {
  [[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]] || missing+=("$1")
}

need_build() {
  need_program g++ g++
  need_program cmake cmake
  need_program ninja ninja-build
  need_program ccache ccache
  local package
  for package in libc6-dev libsimdjson-dev nlohmann-json3-dev libcli11-dev libcurl4-openssl-dev \
    liburing-dev; do
    need_library "$package"
  done
}

need_test() {
  need_program clang++ clang
  need_program clang-format clang-format
  need_library libgtest-dev
  need_library libgmock-dev
  need_library libboost-context-dev
}

need_demo() {
  need_program python3 python3
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "run as root or with sudo once: $*"
  fi
}

# Progress goes to stderr as a line; apt's own words only when it fails.
apt_get() {
  local log
  log=$(mktemp)
  if ! as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -y -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" >"$log" 2>&1 </dev/null; then
    cat "$log" >&2
    rm -f "$log"
    die "apt-get $1 failed"
  fi
  rm -f "$log"
}

install_missing() {
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || die "not a Debian or Ubuntu; please install: ${missing[*]}"
  note "installing ${missing[*]}"
  if ((!updated)); then
    apt_get update
    updated=1
  fi
  apt_get install --no-install-recommends "${missing[@]}"
  missing=()
}

# The sanitizer and fuzzer runtimes are a package named after clang's version on most systems and
# part of another one on Ubuntu 22.04, so ask the compiler whether it can link with them.
install_clang_runtime() {
  local version
  if echo 'int main() {}' | clang++ -fsanitize=address,undefined -x c++ -o /dev/null - 2>/dev/null; then
    return 0
  fi
  version=$(clang++ -dumpversion)
  missing+=("libclang-rt-${version%%.*}-dev")
  install_missing
}

updated=0
for part in "$@"; do
  case $part in
    build | test | demo) "need_$part" ;;
    *) die "unknown part '$part': build, test or demo" ;;
  esac
done
install_missing
for part in "$@"; do
  if [[ $part == test ]]; then install_clang_runtime; fi
done
