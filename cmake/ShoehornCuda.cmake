# The CUDA toolkit: machine code for compute capability 8.0 (what runs on every card since Ampere) and
# for Hopper, and PTX that newer cards translate. SHOEHORN_CUDA_ARCHITECTURES names others, and one
# alone compiles in a third of the time. The program needs no CUDA library to start: the runtime is
# linked in, cuBLASLt is opened when a card is used.
set(SHOEHORN_CUDA_ARCHITECTURES "80-real;90a-real;90-virtual" CACHE STRING "As CMAKE_CUDA_ARCHITECTURES")
set(CMAKE_CUDA_ARCHITECTURES "${SHOEHORN_CUDA_ARCHITECTURES}")
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
# CMake before 3.26 does not know how nvcc is told so.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_FLAGS_DEV "-O2 -g1")
find_package(CUDAToolkit REQUIRED)
