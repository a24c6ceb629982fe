#!/usr/bin/env bash
# Installs what is missing, builds, and runs every check and test there is. The last line of output is
# `N passed, N failed`; the exit status is 1 if anything failed.
#
# It counts each unit test, each whole-program test, each example, each fuzz target and each check of
# the source as one; a build that fails counts as one failure. FUZZ_SECONDS (10) is how long each fuzz
# target runs. Build folders: build/dev (everything), build/cuda (where the CUDA toolkit is: the program
# and its tests, for one architecture; the tests skip themselves where no card is), build/emulated (where
# its headers are: the same tests on cards made of host memory), build/asan (parsers, with sanitizers, by
# clang) and build/examples, build/examples-cuda (against the packages that those installed).
set -euo pipefail
cd "$(dirname "$0")/.."

# Objects that build/dev and build/cuda share are compiled once: ccache sees the same paths in both.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
# What one build of the kernels is for; cmake/ShoehornCuda.cmake has what a release holds.
cuda_architectures=${CUDA_ARCHITECTURES:-90a-real}

fuzz_seconds=${FUZZ_SECONDS:-10}
jobs=$(nproc)
results=build/results
passed=0
failed=0
skipped=0
failures=()

say() { printf '== [%4ds] %s\n' "$SECONDS" "$*"; }
pass() { passed=$((passed + ${1:-1})); }
fail() {
  failed=$((failed + ${2:-1}))
  failures+=("$1")
}

# check NAME COMMAND...: one check of the source; exit status 77 means that it could not run here.
check() {
  local name=$1 status=0
  shift
  say "$name"
  "$@" || status=$?
  case $status in
    0) pass ;;
    77) skipped=$((skipped + 1)) ;;
    *) fail "$name" ;;
  esac
}

# build NAME COMMAND...: like check, but quiet when it works and worth nothing when it does.
build() {
  local name=$1 log=$results/$1.log
  shift
  say "build $name"
  if ! "$@" >"$log" 2>&1; then
    grep -vE '^(\[[0-9]+/[0-9]+\] (Building|Linking|Creating)|-- )' "$log" || true
    fail "build $name"
    return 1
  fi
  grep -A5 'warning:' "$log" || true
}

# configure_and_build PRESET "TARGETS" CMAKE_OPTIONS...
configure_and_build() {
  local preset=$1 targets
  read -ra targets <<<"$2"
  shift 2
  cmake --preset "$preset" "$@" &&
    cmake --build --preset "$preset" -j "$jobs" --target "${targets[@]}" -- -k 0
}

# CMake looks for nvcc on the PATH alone; the vendor's packages put it elsewhere.
find_nvcc() {
  if [[ -n ${CUDACXX:-} ]] || command -v nvcc >/dev/null; then return 0; fi
  [[ -x /usr/local/cuda/bin/nvcc ]] || return 1
  export CUDACXX=/usr/local/cuda/bin/nvcc
}

# run_tests NAME BUILD_FOLDER CTEST_ARGS...: runs what ctest knows there and counts it.
run_tests() {
  local name=$1 folder=$2 log=$results/$1.log report=$PWD/$results/$1.xml
  shift 2
  say "test $name"
  ctest --test-dir "$folder" --no-tests=error --output-on-failure --output-junit "$report" \
    --test-output-size-passed 10000000 --test-output-size-failed 10000000 -j "$jobs" "$@" \
    >"$log" 2>&1 || grep -vE '^ *(Start|[0-9]+/)' "$log" || true
  if [[ ! -s $report ]]; then
    fail "$name: no test ran"
    return
  fi
  local test status good bad left_out
  while read -r test status good bad left_out; do
    pass "$good"
    skipped=$((skipped + left_out))
    if ((bad)); then fail "$name: $test" "$bad"; fi
    if [[ $status != ok ]]; then fail "$name: $test $status"; fi
  done < <(scripts/count-tests.sh "$report")
}

# fuzz_one PROGRAM: runs one libFuzzer target over its checked-in corpus and on from there; new finds
# stay in the build folder.
fuzz_one() {
  local program=$1 name
  name=$(basename "$program")
  name=${name#fuzz_}
  local corpus=fuzz/corpus/$name out=$results/fuzz/$name
  mkdir -p "$out/found"
  [[ -d $corpus ]] || { echo "no corpus in $corpus" >"$out/log"; return 1; }
  "$program" -max_total_time="$fuzz_seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=10 \
    -artifact_prefix="$out/" "$out/found" "$corpus" >"$out/log" 2>&1 && touch "$out/passed"
}

run_fuzz_targets() {
  local program name
  local programs=()
  mapfile -t programs < <(find build/asan -type f -name 'fuzz_*' -executable | LC_ALL=C sort)
  if ((${#programs[@]} == 0)); then
    fail "fuzz: no targets"
    return
  fi
  say "fuzz ${#programs[@]} targets, $fuzz_seconds s each"
  printf '%s\0' "${programs[@]}" | xargs -0 -n 1 -P "$jobs" bash -c 'fuzz_one "$0"' || true
  for program in "${programs[@]}"; do
    name=$(basename "$program")
    name=${name#fuzz_}
    if [[ -e $results/fuzz/$name/passed ]]; then
      pass
    else
      tail -n 60 "$results/fuzz/$name/log"
      fail "fuzz $name"
    fi
  done
}
export -f fuzz_one
export fuzz_seconds results

# build_examples FOLDER BUILD: against the package that BUILD installs.
build_examples() {
  local prefix=$PWD/$1/prefix
  cmake --install "$2" --prefix "$prefix" &&
    cmake -S examples -B "$1" -G Ninja -D CMAKE_BUILD_TYPE=Release \
      -D CMAKE_PREFIX_PATH="$prefix" -D EXAMPLE_MODEL="$PWD/tests/data/tiny-llama" &&
    cmake --build "$1" -j "$jobs"
}

scripts/install-deps.sh build test
rm -rf "$results"
mkdir -p "$results"

check "format" scripts/check-format.sh
check "include order" scripts/check-includes.sh
if build dev configure_and_build dev all; then
  check "instruction sets" scripts/check-isa.sh build/dev
  run_tests dev build/dev
  if build examples build_examples build/examples build/dev; then
    run_tests examples build/examples
  fi
fi
if ! find_nvcc; then
  say "SKIPPED the build with CUDA: there is no nvcc, on the PATH or in /usr/local/cuda/bin"
  skipped=$((skipped + 1))
elif build cuda configure_and_build cuda "shoehorn shoehorn_archive cuda_checks cuda_bench" \
  -D SHOEHORN_CUDA_ARCHITECTURES="$cuda_architectures"; then
  # The same command line, whether there is a card or not; then what needs one.
  run_tests cuda build/cuda -R '^cli$'
  run_tests cuda-card build/cuda -L cuda
  if build examples-cuda build_examples build/examples-cuda build/cuda; then
    run_tests examples-cuda build/examples-cuda
  fi
fi
if find_nvcc && build emulated configure_and_build emulated cuda_checks; then
  run_tests emulated build/emulated -L cuda
fi
if build asan configure_and_build asan parsers; then
  run_tests asan build/asan -L parsers
  run_fuzz_targets
fi

for failure in "${failures[@]}"; do say "FAILED $failure"; done
if ((skipped)); then say "$skipped skipped"; fi
say "done"
printf '%d passed, %d failed\n' "$passed" "$failed"
exit $((failed > 0))
