#!/usr/bin/env bash
# Runs one whole-program test in an empty folder: run_script.sh TEST.sh FOLDER. The test is run with
# errors ending it (set -euo pipefail) and these words:
#
#   expect_status N COMMAND...   runs it; its output is in the files `stdout` and `stderr`
#   expect_text FILE TEXT        the file contains the text
set -euo pipefail

test_script=$1
rm -rf "$2"
mkdir -p "$2"
WORK=$(cd "$2" && pwd)
export WORK
cd "$WORK"

expect_status() {
  local expected=$1 status=0
  shift
  "$@" >stdout 2>stderr || status=$?
  if [[ $status -ne $expected ]]; then
    echo "exit status $status, expected $expected: $*" >&2
    cat stdout stderr >&2
    exit 1
  fi
}

expect_text() {
  if ! grep -qF -- "$2" "$1"; then
    echo "$1 does not say: $2" >&2
    cat "$1" >&2
    exit 1
  fi
}

# shellcheck source=/dev/null
source "$test_script"
