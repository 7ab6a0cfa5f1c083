# Install, export (one set per component), pkg-config and CPack rules.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/hf_sandbox")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/hf" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  COMPONENT library FILES_MATCHING PATTERN "*.hpp")
# The conformance suite, for those who write a transport of their own.
install(DIRECTORY "${PROJECT_SOURCE_DIR}/tests/conformance/transport/"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/hf/sandbox/testing/conformance"
  COMPONENT library FILES_MATCHING PATTERN "*.hpp")
foreach(_component IN LISTS HF_SANDBOX_COMPONENTS)
  install(TARGETS hf_sandbox_${_component} EXPORT hf_sandbox-${_component})
  install(EXPORT hf_sandbox-${_component} NAMESPACE hf_sandbox:: DESTINATION "${_package_dir}"
    FILE hf_sandbox-${_component}.cmake COMPONENT library)
endforeach()

set(HF_SANDBOX_INSTALLED_COMPONENTS ${HF_SANDBOX_COMPONENTS})
if(TARGET hf_sandbox_agent AND NOT HF_SANDBOX_SANITIZE)
  list(APPEND HF_SANDBOX_INSTALLED_COMPONENTS agent)
  set_target_properties(hf_sandbox_agent PROPERTIES EXPORT_NAME agent)
  install(TARGETS hf_sandbox_agent EXPORT hf_sandbox-agent
    RUNTIME DESTINATION "${CMAKE_INSTALL_LIBEXECDIR}" COMPONENT agent)
  install(EXPORT hf_sandbox-agent NAMESPACE hf_sandbox:: DESTINATION "${_package_dir}"
    FILE hf_sandbox-agent.cmake COMPONENT agent)
endif()

# Which httplib the httplib component was made with: its CMake package, or the pkg-config module.
set(HF_SANDBOX_HTTPLIB_TARGET "${_hf_sandbox_httplib}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/hf_sandboxConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/hf_sandboxConfig.cmake"
  INSTALL_DESTINATION "${_package_dir}"
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
# Until 1.0 a minor version may change the API.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/hf_sandboxConfigVersion.cmake"
  VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES
  "${PROJECT_BINARY_DIR}/hf_sandboxConfig.cmake"
  "${PROJECT_BINARY_DIR}/hf_sandboxConfigVersion.cmake"
  DESTINATION "${_package_dir}" COMPONENT library)

# pkg-config: the umbrella header with curl where that is installed. The prefix is found from the
# file's own place, so that the tree can be moved.
file(RELATIVE_PATH HF_SANDBOX_PC_TO_PREFIX
  "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(HF_SANDBOX_PC_PREFIX "${CMAKE_INSTALL_PREFIX}")
else()
  string(REGEX REPLACE "/$" "" HF_SANDBOX_PC_TO_PREFIX "${HF_SANDBOX_PC_TO_PREFIX}")
  set(HF_SANDBOX_PC_PREFIX "\${pcfiledir}/${HF_SANDBOX_PC_TO_PREFIX}")
endif()
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(HF_SANDBOX_PC_INCLUDEDIR "${CMAKE_INSTALL_INCLUDEDIR}")
else()
  set(HF_SANDBOX_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(TARGET hf_sandbox_curl)
  set(HF_SANDBOX_PC_REQUIRES "nlohmann_json libcrypto libcurl")
  set(HF_SANDBOX_PC_CFLAGS "")
else()
  set(HF_SANDBOX_PC_REQUIRES "nlohmann_json libcrypto")
  set(HF_SANDBOX_PC_CFLAGS " -DHF_SANDBOX_NO_CURL")
endif()
configure_file("${PROJECT_SOURCE_DIR}/cmake/hf-sandbox.pc.in" "${PROJECT_BINARY_DIR}/hf-sandbox.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/hf-sandbox.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)

# By default the folder has the package's name, not the project's.
string(REGEX REPLACE "/doc/hf_sandbox$" "/doc/hf-sandbox" _doc_dir "${CMAKE_INSTALL_DOCDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${_doc_dir}"
  RENAME copyright COMPONENT library)
install(FILES "${PROJECT_SOURCE_DIR}/README.md" "${PROJECT_SOURCE_DIR}/CHANGELOG.md"
  DESTINATION "${_doc_dir}" COMPONENT library OPTIONAL)

if(HF_SANDBOX_IS_TOP_LEVEL)
  set(CPACK_PACKAGE_NAME hf-sandbox)
  set(CPACK_PACKAGE_VENDOR "hf-sandbox contributors")
  set(CPACK_PACKAGE_CONTACT "https://github.com/huggingface/hf-sandbox/issues")
  set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
  set(CPACK_PACKAGE_CHECKSUM SHA256)
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_GENERATOR TGZ)
  find_program(_dpkg dpkg)
  if(_dpkg)
    list(APPEND CPACK_GENERATOR DEB)
  endif()
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_MAINTAINER "hf-sandbox contributors <hf-sandbox@users.noreply.github.com>")
  set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "nlohmann-json3-dev, libssl-dev, libcurl4-openssl-dev | libcurl-dev")
  set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libboost-dev, libcpp-httplib-dev")
  include(CPack)
endif()
