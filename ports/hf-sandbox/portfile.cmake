if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/../../include/hf/sandbox.hpp")
  # Used from a checkout with --overlay-ports: builds that checkout.
  get_filename_component(SOURCE_PATH "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
else()
  # A registry's copy of this port states the archive's hash; a release cannot contain its own.
  vcpkg_from_github(
    OUT_SOURCE_PATH SOURCE_PATH
    REPO huggingface/hf-sandbox
    REF "v${VERSION}"
    SHA512 0
    HEAD_REF main
  )
endif()

if(NOT "agent" IN_LIST FEATURES)
  set(VCPKG_BUILD_TYPE release) # header-only
endif()

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
  "${CURRENT_PACKAGES_DIR}/debug/include"
  "${CURRENT_PACKAGES_DIR}/debug/share"
  "${CURRENT_PACKAGES_DIR}/debug/tools"
  "${CURRENT_PACKAGES_DIR}/share/${PORT}/README.md"
  "${CURRENT_PACKAGES_DIR}/share/${PORT}/CHANGELOG.md"
)

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
