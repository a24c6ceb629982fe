# Cards made of host memory, for tests where there is none: kernels are compiled by the C++ compiler
# (src/cuda/emulated), with nothing of the toolkit but its headers.
find_package(CUDAToolkit REQUIRED)
find_package(Boost REQUIRED COMPONENTS context)
set(SHOEHORN_EMULATED_CUDA_FOLDER "${PROJECT_SOURCE_DIR}/src/cuda/emulated")

# shoehorn_emulated_kernels(a.cu ...)
function(shoehorn_emulated_kernels)
  set_source_files_properties(${ARGN} PROPERTIES
    LANGUAGE CXX
    COMPILE_OPTIONS "-x;c++;-include;cuda/emulated/device.h;-ftls-model=initial-exec;-fno-strict-aliasing;-fsanitize=alignment;-fno-sanitize-recover=alignment;-Wno-missing-field-initializers;-Wno-uninitialized"
    INCLUDE_DIRECTORIES "${SHOEHORN_EMULATED_CUDA_FOLDER};${CUDAToolkit_INCLUDE_DIRS}")
endfunction()
