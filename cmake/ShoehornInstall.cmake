# What `cmake --install` leaves behind: the program, the public headers, and one archive,
# libshoehorn.a, made of the objects of every folder, which find_package(shoehorn) offers as
# shoehorn::shoehorn together with the libraries it needs.
include(CMakePackageConfigHelpers)

get_property(folders GLOBAL PROPERTY SHOEHORN_FOLDERS)
# A static archive hands on the libraries that its folders link; headers alone leave nothing to link.
set(third_party "")
foreach(folder ${folders})
  get_target_property(links ${folder} LINK_LIBRARIES)
  list(APPEND third_party ${links})
endforeach()
list(FILTER third_party EXCLUDE REGEX "^shoehorn_|^nlohmann_json")
list(REMOVE_DUPLICATES third_party)

list(TRANSFORM folders REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
add_library(shoehorn_archive STATIC ${objects})
set_target_properties(shoehorn_archive PROPERTIES
  LINKER_LANGUAGE CXX OUTPUT_NAME shoehorn EXPORT_NAME shoehorn)
target_compile_features(shoehorn_archive INTERFACE cxx_std_20)
target_link_libraries(shoehorn_archive PRIVATE ${third_party})
if(SHOEHORN_SANITIZE)
  target_link_options(shoehorn_archive INTERFACE -fsanitize=address,undefined)
endif()

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/shoehorn")
install(TARGETS shoehorn_archive EXPORT shoehornTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT shoehornTargets NAMESPACE shoehorn:: DESTINATION "${package_folder}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/shoehorn"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.h")

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/shoehornConfig.cmake.in" "${PROJECT_BINARY_DIR}/shoehornConfig.cmake"
  INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/shoehornConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/shoehornConfig.cmake" "${PROJECT_BINARY_DIR}/shoehornConfigVersion.cmake"
  DESTINATION "${package_folder}")

# The program lands at the top of its build folder: build/release/shoehorn.
if(TARGET shoehorn)
  set_target_properties(shoehorn PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
  install(TARGETS shoehorn RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
