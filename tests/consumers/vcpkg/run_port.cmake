# Runs ports/hf-sandbox/portfile.cmake with stand-ins for vcpkg's functions, which do what the
# maintainer guide documents, as far as this port can tell. It is not vcpkg: it shows that the steps
# fit together and that the tree they leave obeys the rules that vcpkg checks after a build.
#
#   cmake -DPORT_DIR=... -DWORK=... -DFEATURES=core;curl;... [-DARCHIVE=release.tar.gz] -P run_port.cmake
#
# With ARCHIVE the port is a registry's copy, and that file is what GitHub would answer.
cmake_minimum_required(VERSION 3.25)

set(PORT hf-sandbox)
set(CURRENT_PACKAGES_DIR "${WORK}/packages")
set(_buildtrees "${WORK}/buildtrees")
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}" "${_buildtrees}")
file(READ "${PORT_DIR}/vcpkg.json" _manifest)
string(JSON VERSION GET "${_manifest}" version)

function(_run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(result)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
endfunction()

function(vcpkg_from_github)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_SOURCE_PATH;REPO;REF;SHA512;HEAD_REF" "")
  if(NOT ARCHIVE)
    message(FATAL_ERROR "the overlay port downloads something")
  endif()
  string(JSON homepage GET "${_manifest}" homepage)
  file(SHA512 "${ARCHIVE}" hash)
  if(NOT arg_REF STREQUAL "v${VERSION}" OR NOT arg_SHA512 STREQUAL hash
     OR NOT homepage STREQUAL "https://github.com/${arg_REPO}" OR NOT arg_HEAD_REF)
    message(FATAL_ERROR "wrong source: ${ARGN}")
  endif()
  set(folder "${WORK}/source")
  file(REMOVE_RECURSE "${folder}")
  file(ARCHIVE_EXTRACT INPUT "${ARCHIVE}" DESTINATION "${folder}")
  file(GLOB inner "${folder}/*")
  set(${arg_OUT_SOURCE_PATH} "${inner}" PARENT_SCOPE)
endfunction()

function(vcpkg_check_features)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES")
  set(options "")
  while(arg_FEATURES)
    list(POP_FRONT arg_FEATURES feature option)
    string(JSON described ERROR_VARIABLE unknown GET "${_manifest}" features "${feature}")
    if(unknown)
      message(FATAL_ERROR "the manifest has no feature \"${feature}\"")
    endif()
    if(feature IN_LIST FEATURES)
      list(APPEND options "-D${option}=ON")
    else()
      list(APPEND options "-D${option}=OFF")
    endif()
  endwhile()
  set(${arg_OUT_FEATURE_OPTIONS} "${options}" PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  _run("${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${_buildtrees}" -G Ninja
    -DCMAKE_BUILD_TYPE=Release "-DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}"
    -DCMAKE_INSTALL_LIBDIR=lib ${arg_OPTIONS})
endfunction()

function(vcpkg_cmake_install)
  _run("${CMAKE_COMMAND}" --build "${_buildtrees}" --target install)
endfunction()

# The files move from lib/cmake/X to share/X, one level up: their way to the prefix is shortened.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "PACKAGE_NAME;CONFIG_PATH" "")
  set(share "${CURRENT_PACKAGES_DIR}/share/${arg_PACKAGE_NAME}")
  file(MAKE_DIRECTORY "${CURRENT_PACKAGES_DIR}/share")
  file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${share}")
  file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib/cmake")
  file(GLOB files "${share}/*.cmake")
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    string(REPLACE "\${CMAKE_CURRENT_LIST_DIR}/../../../" "\${CMAKE_CURRENT_LIST_DIR}/../../" text "${text}")
    string(REGEX REPLACE
      "get_filename_component\\(_IMPORT_PREFIX \"\\\${CMAKE_CURRENT_LIST_FILE}\" PATH\\)(\nget_filename_component\\(_IMPORT_PREFIX \"\\\${_IMPORT_PREFIX}\" PATH\\))*"
      "get_filename_component(_IMPORT_PREFIX \"\${CMAKE_CURRENT_LIST_FILE}\" PATH)\nget_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\nget_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)"
      text "${text}")
    file(WRITE "${file}" "${text}")
  endforeach()
endfunction()

function(vcpkg_fixup_pkgconfig)
  file(GLOB files "${CURRENT_PACKAGES_DIR}/lib/pkgconfig/*.pc")
  if(NOT files)
    message(FATAL_ERROR "no pkg-config file")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(COPY_FILE "${arg_FILE_LIST}" "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright")
endfunction()

include("${PORT_DIR}/portfile.cmake")

# What vcpkg checks after a build.
foreach(_wanted share/hf-sandbox/copyright share/hf-sandbox/usage share/hf_sandbox/hf_sandboxConfig.cmake
    include/hf/sandbox.hpp)
  if(NOT EXISTS "${CURRENT_PACKAGES_DIR}/${_wanted}")
    message(FATAL_ERROR "the port did not install ${_wanted}")
  endif()
endforeach()
foreach(_refused debug/include debug/share libexec lib/cmake bin)
  if(EXISTS "${CURRENT_PACKAGES_DIR}/${_refused}")
    message(FATAL_ERROR "the port installed ${_refused}")
  endif()
endforeach()
file(GLOB_RECURSE _files "${CURRENT_PACKAGES_DIR}/*.cmake" "${CURRENT_PACKAGES_DIR}/*.pc")
foreach(_file IN LISTS _files)
  file(READ "${_file}" _text)
  if(_text MATCHES "${WORK}")
    message(FATAL_ERROR "${_file} holds an absolute path")
  endif()
endforeach()
