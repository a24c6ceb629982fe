# scripts/count-tests.sh counts every way in which a test of ctest can end.

mkdir project
cat >project/CMakeLists.txt <<'CODE'
cmake_minimum_required(VERSION 3.22)
project(endings LANGUAGES NONE)
enable_testing()
add_test(NAME cases_pass COMMAND sh ${CMAKE_SOURCE_DIR}/says.sh 0 "[  PASSED  ] 4 tests."
  "[  SKIPPED ] 1 test, listed below:" "[  SKIPPED ] A.Skip" "  YOU HAVE 1 DISABLED TEST")
add_test(NAME case_fails COMMAND sh ${CMAKE_SOURCE_DIR}/says.sh 1 "[  FAILED  ] A.Bad (0 ms)"
  "[  PASSED  ] 2 tests." "[  FAILED  ] 1 test, listed below:" "[  FAILED  ] A.Bad" " 1 FAILED TEST")
add_test(NAME crash COMMAND sh ${CMAKE_SOURCE_DIR}/says.sh 134 "[ RUN      ] B.Die")
add_test(NAME late_crash COMMAND sh ${CMAKE_SOURCE_DIR}/says.sh 139 "[  PASSED  ] 2 tests.")
add_test(NAME script_passes COMMAND true)
add_test(NAME script_fails COMMAND false)
add_test(NAME script_skips COMMAND sh ${CMAKE_SOURCE_DIR}/says.sh 77)
set_tests_properties(script_skips PROPERTIES SKIP_RETURN_CODE 77)
add_test(NAME not_built COMMAND ${CMAKE_SOURCE_DIR}/absent)
CODE
printf '%s\n' 'status=$1; shift; printf "%s\n" "$@"; exit "$status"' >project/says.sh

cmake -G Ninja -S project -B build >configure.log
ctest --test-dir build --output-junit "$WORK/report.xml" >ctest.log 2>&1 || true
expect_status 0 "$SOURCE/scripts/count-tests.sh" report.xml
diff - stdout <<'COUNTS'
cases_pass ok 4 0 2
case_fails ok 2 1 0
crash failed 0 0 0
late_crash failed 2 0 0
script_passes ok 1 0 0
script_fails failed 0 0 0
script_skips ok 0 0 1
not_built did-not-run 0 0 0
COUNTS
