# An overlay port: vcpkg install hf-sandbox --overlay-ports=<checkout>/ports builds that checkout.
# A registry's copy downloads a release and states its hash, which a release cannot contain:
# `scripts/release --port` makes it, with another text between the two marks.
# source: begin
get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
if(NOT EXISTS "${SOURCE_PATH}/include/hf/sandbox.hpp")
  message(FATAL_ERROR "This port builds the checkout around it; scripts/release --port makes one that stands alone.")
endif()
# source: end

# Headers, and at most one program, of which a debug build is of no use.
set(VCPKG_BUILD_TYPE release)

vcpkg_check_features(OUT_FEATURE_OPTIONS FEATURE_OPTIONS
  FEATURES
    agent HF_SANDBOX_BUILD_AGENT
    beast HF_SANDBOX_WITH_BEAST
    curl HF_SANDBOX_WITH_CURL
    httplib HF_SANDBOX_WITH_HTTPLIB
)

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    ${FEATURE_OPTIONS}
    -DHF_SANDBOX_BUILD_TESTS=OFF
    -DHF_SANDBOX_BUILD_EXAMPLES=OFF
    -DHF_SANDBOX_BUILD_BENCH=OFF
    -DHF_SANDBOX_INSTALL=ON
    "-DCMAKE_INSTALL_LIBEXECDIR=tools/${PORT}"
    "-DCMAKE_INSTALL_DOCDIR=share/${PORT}"
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(PACKAGE_NAME hf_sandbox CONFIG_PATH lib/cmake/hf_sandbox)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE
  "${CURRENT_PACKAGES_DIR}/share/${PORT}/README.md"
  "${CURRENT_PACKAGES_DIR}/share/${PORT}/CHANGELOG.md"
)

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
