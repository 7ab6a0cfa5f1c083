# The library: header-only targets, one per component. A component whose third-party library is
# not installed is left out; asking for it by name (HF_SANDBOX_WITH_<X>=ON) makes that an error.
include(GNUInstallDirs)

set(HF_SANDBOX_WITH_CURL AUTO CACHE STRING "hf_sandbox::curl: ON, OFF or AUTO (when libcurl is found)")
set(HF_SANDBOX_WITH_BEAST AUTO CACHE STRING "hf_sandbox::beast: ON, OFF or AUTO (when Boost is found)")
set(HF_SANDBOX_WITH_HTTPLIB AUTO CACHE STRING "hf_sandbox::httplib: ON, OFF or AUTO (when cpp-httplib is found)")
set_property(CACHE HF_SANDBOX_WITH_CURL HF_SANDBOX_WITH_BEAST HF_SANDBOX_WITH_HTTPLIB PROPERTY STRINGS AUTO ON OFF)

set(HF_SANDBOX_COMPONENTS core)

function(_hf_sandbox_component name)
  add_library(hf_sandbox_${name} INTERFACE)
  add_library(hf_sandbox::${name} ALIAS hf_sandbox_${name})
  set_target_properties(hf_sandbox_${name} PROPERTIES EXPORT_NAME ${name})
  if(NOT name STREQUAL "core")
    target_link_libraries(hf_sandbox_${name} INTERFACE hf_sandbox_core)
  endif()
endfunction()

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto OPTIONAL_COMPONENTS SSL)
if(NOT TARGET nlohmann_json::nlohmann_json)
  find_package(nlohmann_json 3.10 REQUIRED)
endif()

_hf_sandbox_component(core)
target_compile_features(hf_sandbox_core INTERFACE cxx_std_20)
target_include_directories(hf_sandbox_core INTERFACE
  "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
  "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
target_link_libraries(hf_sandbox_core INTERFACE
  nlohmann_json::nlohmann_json OpenSSL::Crypto Threads::Threads)

# curl
if(NOT HF_SANDBOX_WITH_CURL STREQUAL "OFF")
  find_package(CURL QUIET)
  if(CURL_FOUND)
    _hf_sandbox_component(curl)
    target_link_libraries(hf_sandbox_curl INTERFACE CURL::libcurl)
    list(APPEND HF_SANDBOX_COMPONENTS curl)
  elseif(HF_SANDBOX_WITH_CURL STREQUAL "ON")
    message(FATAL_ERROR "HF_SANDBOX_WITH_CURL is ON but libcurl's development files were not found")
  endif()
endif()

# beast
if(NOT HF_SANDBOX_WITH_BEAST STREQUAL "OFF")
  if(POLICY CMP0167)
    cmake_policy(SET CMP0167 NEW)
  endif()
  find_package(Boost 1.74 QUIET)
  if(Boost_FOUND AND TARGET OpenSSL::SSL)
    _hf_sandbox_component(beast)
    target_link_libraries(hf_sandbox_beast INTERFACE Boost::headers OpenSSL::SSL)
    list(APPEND HF_SANDBOX_COMPONENTS beast)
  elseif(HF_SANDBOX_WITH_BEAST STREQUAL "ON")
    message(FATAL_ERROR "HF_SANDBOX_WITH_BEAST is ON but Boost (>= 1.74) or OpenSSL's libssl was not found")
  endif()
endif()

# httplib. Debian's package is the compiled library: its header is only right with the flags of its
# pkg-config file. Others install a CMake package. A bare include is never tried.
if(NOT HF_SANDBOX_WITH_HTTPLIB STREQUAL "OFF")
  if(NOT TARGET httplib::httplib)
    find_package(httplib CONFIG QUIET)
  endif()
  set(_hf_sandbox_httplib "")
  if(TARGET httplib::httplib)
    set(_hf_sandbox_httplib httplib::httplib)
  else()
    find_package(PkgConfig QUIET)
    if(PKG_CONFIG_FOUND)
      pkg_check_modules(HF_SANDBOX_HTTPLIB QUIET IMPORTED_TARGET cpp-httplib)
      if(HF_SANDBOX_HTTPLIB_FOUND)
        set(_hf_sandbox_httplib PkgConfig::HF_SANDBOX_HTTPLIB)
      endif()
    endif()
  endif()
  if(_hf_sandbox_httplib AND TARGET OpenSSL::SSL)
    _hf_sandbox_component(httplib)
    target_link_libraries(hf_sandbox_httplib INTERFACE ${_hf_sandbox_httplib} OpenSSL::SSL)
    list(APPEND HF_SANDBOX_COMPONENTS httplib)
  elseif(HF_SANDBOX_WITH_HTTPLIB STREQUAL "ON")
    message(FATAL_ERROR "HF_SANDBOX_WITH_HTTPLIB is ON but cpp-httplib (CMake package or pkg-config) or libssl was not found")
  endif()
endif()

if(HF_SANDBOX_IS_TOP_LEVEL)
  message(STATUS "hf_sandbox ${PROJECT_VERSION}: ${HF_SANDBOX_COMPONENTS}")
endif()
