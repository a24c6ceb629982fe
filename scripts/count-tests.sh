#!/usr/bin/env bash
# Counts what ctest ran, from the report of `ctest --output-junit REPORT`: a line
# `NAME ok|WHY PASSED FAILED SKIPPED` for each of its tests. Programs of GoogleTest say in their output
# how many cases they ran (so ctest must not shorten it); anything else counts as one, and a program
# that ended without saying so has a WHY other than ok.
set -euo pipefail

awk '
  function attribute(name) {
    match($0, " " name "=\"[^\"]*\"")
    return substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
  }
  function number() { match($0, /[0-9]+/); return substr($0, RSTART, RLENGTH) + 0 }
  /<testcase / {
    name = attribute("name"); status = attribute("status")
    cases = good = bad = off = 0
  }
  /\[  PASSED  \] [0-9]+ test/ { cases = 1; good += number() }
  /\[  FAILED  \] [0-9]+ test/ { cases = 1; bad += number() }
  /\[  SKIPPED \] [0-9]+ test/ { cases = 1; off += number() }
  /YOU HAVE [0-9]+ DISABLED TEST/ { off += number() }
  /<skipped message="SKIP_/ { status = "disabled" }
  /<\/testcase>/ {
    why = "ok"
    if (status == "disabled") off = 1
    else if (status == "run") { if (!cases) good = 1 }
    else if (!bad) why = status == "fail" ? "failed" : "did-not-run"
    print name, why, good, bad, off
  }' "$1"
