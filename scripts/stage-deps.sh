#!/usr/bin/env bash
# Gathers the headers and libraries that the `cuda` preset needs beyond a compiler, CMake, Ninja and the
# CUDA toolkit, for a machine that has only those and reaches nothing:
#
#   scripts/stage-deps.sh [FOLDER]         default build/deps; a few megabytes
#
# and there
#
#   cmake --preset cuda -D CMAKE_PREFIX_PATH=FOLDER
#   cmake --build --preset cuda && ctest --preset cuda
#
# The files are copies of what the packages of install-deps.sh have installed here; nothing is built.
# FOLDER/licenses holds their terms, FOLDER/packages their versions. The machine there needs the same
# processor family and a C library that is not older than this one's.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'stage-deps: %s\n' "$*" >&2; exit 1; }

folder=${1:-build/deps}
readonly max_bytes=$((50 << 20))
readonly packages=(libsimdjson-dev nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev)

command -v dpkg-query >/dev/null || die "not a Debian or Ubuntu: copies come from installed packages"

# The shared library belongs to a package named after its version.
shared=$(dpkg-query -S '*/libsimdjson.so.*' 2>/dev/null | sed 's/[:,].*//' | sort -u | head -n 1) || true
[[ -n $shared ]] || die "libsimdjson is not installed: scripts/install-deps.sh build test"

rm -rf "$folder"
mkdir -p "$folder/licenses"
for package in "${packages[@]}" "$shared"; do
  [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" == installed ]] ||
    die "$package is not installed: scripts/install-deps.sh build test"
  dpkg-query -W -f '${Package} ${Version}\n' "$package" >>"$folder/packages"
  cp -L "/usr/share/doc/$package/copyright" "$folder/licenses/$package"
  # Headers, libraries and CMake's files about them, at the same places below FOLDER as below /usr.
  while read -r path; do
    case $path in
      /usr/include/* | /usr/lib/* | /usr/share/cmake/*) ;;
      *) continue ;;
    esac
    if [[ -d $path ]]; then continue; fi
    mkdir -p "$folder/$(dirname "${path#/usr/}")"
    # Links as what they lead to: an archive or a checkout may not keep them.
    cp -L "$path" "$folder/${path#/usr/}"
  done < <(dpkg-query -L "$package")
done

bytes=$(du -sb "$folder" | cut -f 1)
((bytes < max_bytes)) || die "$folder has $bytes bytes, more than $max_bytes"
printf '%s: %d KiB\n' "$folder" $((bytes >> 10))
