# scripts/check-isa.sh finds instruction-set flags on files that do not say so in their name, and
# inline functions that such a file leaves for the whole program.

[[ $(uname -m) == x86_64 ]] || exit 77
mkdir -p scripts src build
cp "$SOURCE/scripts/check-isa.sh" scripts/

cat >src/private_avx2.cc <<'CODE'
namespace {
int half(int x) { return x / 2; }
}  // namespace
int quarter(int x) { return half(half(x)); }
CODE
cat >src/shared_avx2.cc <<'CODE'
__attribute__((noinline)) inline int half(int x) { return x / 2; }
int eighth(int x) { return half(half(half(x))); }
CODE
cp src/private_avx2.cc src/plain.cc

# compile FLAGS FILE...: into build/, with the record of it that CMake keeps.
compile() {
  local flags=$1 file separator='['
  shift
  for file in "$@"; do
    g++ -O2 $flags -c "src/$file" -o "build/$file.o"
    printf '%s\n{\n  "directory": "%s",\n  "command": "g++ %s -o %s.o -c %s",\n  "file": "%s"\n}' \
      "$separator" "$WORK/build" "$flags" "$file" "$WORK/src/$file" "$WORK/src/$file"
    separator=,
  done >build/compile_commands.json
  printf '\n]\n' >>build/compile_commands.json
}

compile '-mavx2 -mfma' private_avx2.cc
expect_status 0 scripts/check-isa.sh build
compile '-mavx2' plain.cc
expect_status 1 scripts/check-isa.sh build
expect_text stdout 'src/plain.cc: compiled with -mavx2'
compile '-march=native' private_avx2.cc
expect_status 1 scripts/check-isa.sh build
expect_text stdout 'instead of -march=native'
compile '-mavx2' private_avx2.cc shared_avx2.cc
expect_status 1 scripts/check-isa.sh build
expect_text stdout 'src/shared_avx2.cc: leaves a shared copy of half(int)'
