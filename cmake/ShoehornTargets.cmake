# Compiler settings and the helpers every folder's CMakeLists.txt uses.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
# Dev: fast enough to run models in tests, with assert() on.
set(CMAKE_CXX_FLAGS_DEV "-O2 -g1")
set(CMAKE_EXE_LINKER_FLAGS_DEV "")

find_program(SHOEHORN_CCACHE ccache)
if(SHOEHORN_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${SHOEHORN_CCACHE}")
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${SHOEHORN_CCACHE}")
endif()

add_library(shoehorn_options INTERFACE)
target_compile_options(shoehorn_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wno-unknown-pragmas>"
  # GCC 12 sees uninitialised values in simdjson's and its own headers that are none, and at -O3
  # overlapping copies where strings are added up (GCC bug 105329).
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<CONFIG:Release>>:-Wno-restrict>
  # The same sums on every machine: no fused multiply-add unless a kernel asks for it by name.
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
target_include_directories(shoehorn_options INTERFACE
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>" "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>")
if(SHOEHORN_SANITIZE)
  target_compile_options(shoehorn_options INTERFACE
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(shoehorn_options INTERFACE -fsanitize=address,undefined)
endif()
if(SHOEHORN_FUZZ)
  target_compile_options(shoehorn_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# shoehorn_folder(NAME SOURCES a.cc ... [LINKS lower folders and libraries])
#   One static library a folder of src/, target shoehorn_NAME. All of them together are what gets
#   installed (ShoehornInstall.cmake), so their names are collected here.
function(shoehorn_folder name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(shoehorn_${name} STATIC ${ARG_SOURCES})
  set_target_properties(shoehorn_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(shoehorn_${name} PUBLIC shoehorn_options ${ARG_LINKS})
  set_property(GLOBAL APPEND PROPERTY SHOEHORN_FOLDERS shoehorn_${name})
endfunction()

# shoehorn_tests(NAME SOURCES a_test.cc ... [LINKS ...] [LABEL label])
#   One test program a folder, NAME_tests; it finds its data under SHOEHORN_TEST_DATA. What needs a card
#   has the label cuda: the target cuda_checks builds it, `ctest -L cuda` runs it. The others see no card
#   where there is one, since their answers are the processor's, to the bit.
function(shoehorn_tests name)
  if(NOT SHOEHORN_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LINKS" ${ARGN})
  add_executable(${name}_tests ${ARG_SOURCES})
  target_link_libraries(${name}_tests PRIVATE ${ARG_LINKS} shoehorn_options GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name}_tests PRIVATE
    SHOEHORN_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  add_test(NAME ${name}_tests COMMAND ${name}_tests)
  if(name IN_LIST SHOEHORN_PARSER_FOLDERS)
    add_dependencies(parsers ${name}_tests)
    set_property(TEST ${name}_tests PROPERTY LABELS parsers)
  endif()
  if(ARG_LABEL)
    set_property(TEST ${name}_tests PROPERTY LABELS ${ARG_LABEL})
    add_dependencies(${ARG_LABEL}_checks ${name}_tests)
  else()
    set_property(TEST ${name}_tests PROPERTY ENVIRONMENT CUDA_VISIBLE_DEVICES=)
  endif()
endfunction()

# shoehorn_fuzz(NAME SOURCE LINKS ... [SOURCES ...]): the libFuzzer program fuzz_NAME, corpus in
# fuzz/corpus/NAME/; SOURCES are files of a folder that it does not link as a whole.
function(shoehorn_fuzz name source)
  if(NOT SHOEHORN_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "LINKS;SOURCES" ${ARGN})
  add_executable(fuzz_${name} ${source} ${ARG_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_LINKS} shoehorn_options)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(parsers fuzz_${name})
endfunction()

# shoehorn_isa(SOURCE FLAGS...): compiles one kernel file for one instruction set, x86-64 only.
function(shoehorn_isa source)
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${ARGN}")
endfunction()
