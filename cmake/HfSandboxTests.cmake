# One executable per suite; its sources are every .cpp below the suite's folder.
include(Catch)

set(HF_SANDBOX_TEST_ROOT "${PROJECT_SOURCE_DIR}/tests")
set(HF_SANDBOX_TEST_NAME_PREFIX "" CACHE STRING "Put before every test's name, to tell builds apart")
set(HF_SANDBOX_TEST_SUITES "" CACHE STRING "Suites to build (unit;agent;e2e;...); empty: all")
option(HF_SANDBOX_TEST_PCH "Precompile the headers that every test includes" ON)
# What a test file instantiates costs more than the file itself; several in one unit share it.
option(HF_SANDBOX_TEST_UNITY "Compile several test files as one translation unit" ON)
set(HF_SANDBOX_TEST_UNITY_SIZE 6 CACHE STRING "Test files in one translation unit")

# Sources shared by all suites: tests/support/*.cpp.
file(GLOB _support_sources CONFIGURE_DEPENDS "${HF_SANDBOX_TEST_ROOT}/support/*.cpp")
add_library(hf_sandbox_test_base INTERFACE)
target_include_directories(hf_sandbox_test_base INTERFACE "${HF_SANDBOX_TEST_ROOT}")
target_link_libraries(hf_sandbox_test_base INTERFACE Catch2::Catch2 Threads::Threads)

# Test programs are compiled without optimisation: they are built three times, and most of their
# time goes into waiting for the agent, which is optimised.
option(HF_SANDBOX_TEST_OPTIMIZE "Optimise the test programs too" OFF)

# All suites see all transports that are installed, so that one precompiled header serves them.
function(hf_sandbox_test_settings target)
  target_link_libraries(${target} PRIVATE hf_sandbox_test_base)
  foreach(component IN LISTS HF_SANDBOX_COMPONENTS)
    string(TOUPPER "${component}" upper)
    target_link_libraries(${target} PRIVATE hf_sandbox::${component})
    target_compile_definitions(${target} PRIVATE HF_SANDBOX_HAS_${upper}=1)
  endforeach()
  target_compile_definitions(${target} PRIVATE
    "HF_SANDBOX_TEST_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\""
    "HF_SANDBOX_TEST_BINARY_DIR=\"${PROJECT_BINARY_DIR}\"")
  if(NOT HF_SANDBOX_TEST_OPTIMIZE)
    target_compile_options(${target} PRIVATE -O0)
  endif()
  hf_sandbox_developer_target(${target})
  # Calls whose exception is the point drop their result.
  target_compile_options(${target} PRIVATE -Wno-unused-result)
endfunction()

set(_common_headers
  <catch2/catch_template_test_macros.hpp> <catch2/catch_test_macros.hpp> <nlohmann/json.hpp>
  <chrono> <cstdint> <functional> <memory> <optional> <string> <string_view> <vector>)

if(HF_SANDBOX_TEST_PCH AND NOT HF_SANDBOX_TIDY AND TARGET hf_sandbox_curl)
  file(WRITE "${PROJECT_BINARY_DIR}/empty.cpp" "")
  add_library(hf_sandbox_test_pch OBJECT "${PROJECT_BINARY_DIR}/empty.cpp")
  hf_sandbox_test_settings(hf_sandbox_test_pch)
  set(_library_headers <hf/sandbox.hpp>)
  foreach(_transport beast httplib)
    if(TARGET hf_sandbox_${_transport})
      list(APPEND _library_headers <hf/sandbox/transports/${_transport}.hpp>)
    endif()
  endforeach()
  target_precompile_headers(hf_sandbox_test_pch PRIVATE ${_common_headers} ${_library_headers})
endif()

# hf_sandbox_discover(<target> PREFIX p [RESOURCE_LOCK name])
# Test cases tagged [serial] run with nothing beside them.
function(hf_sandbox_discover target)
  cmake_parse_arguments(arg "" "PREFIX;RESOURCE_LOCK" "" ${ARGN})
  if(HF_SANDBOX_TEST_NAME_PREFIX)
    string(PREPEND arg_PREFIX "${HF_SANDBOX_TEST_NAME_PREFIX} ")
  endif()
  set(timeout 300)
  if(HF_SANDBOX_SANITIZE)
    set(timeout 900)
  endif()
  set(properties
    LABELS gate
    TIMEOUT ${timeout}
    ENVIRONMENT "HF_SANDBOX_AGENT=${PROJECT_BINARY_DIR}/bin/hf-sandbox-agent")
  if(arg_RESOURCE_LOCK)
    list(APPEND properties RESOURCE_LOCK ${arg_RESOURCE_LOCK})
  endif()
  catch_discover_tests(${target} DISCOVERY_MODE PRE_TEST TEST_SPEC "~[serial]"
    TEST_PREFIX "${arg_PREFIX}" PROPERTIES ${properties})
  catch_discover_tests(${target} DISCOVERY_MODE PRE_TEST TEST_SPEC "[serial]"
    TEST_PREFIX "${arg_PREFIX}" TEST_LIST ${target}_SERIAL_TESTS
    PROPERTIES ${properties} RUN_SERIAL TRUE)
endfunction()

# hf_sandbox_test_suite(<name> PREFIX p [SOURCE_DIR d] [RESOURCE_LOCK r] [AGENT_OBJECTS]
#                       [ALONE] [LIBRARIES l...])
# Makes hf_sandbox_<name>_tests when the folder has sources. It links core and every transport that
# is installed, each announced by HF_SANDBOX_HAS_<COMPONENT>=1. ALONE: its files are large, and each
# is a translation unit of its own.
function(hf_sandbox_test_suite name)
  cmake_parse_arguments(arg "AGENT_OBJECTS;ALONE" "PREFIX;SOURCE_DIR;RESOURCE_LOCK" "LIBRARIES" ${ARGN})
  if(NOT arg_SOURCE_DIR)
    set(arg_SOURCE_DIR ${name})
  endif()
  if(HF_SANDBOX_TEST_SUITES AND NOT name IN_LIST HF_SANDBOX_TEST_SUITES)
    return()
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${HF_SANDBOX_TEST_ROOT}/${arg_SOURCE_DIR}/*.cpp")
  if(NOT sources)
    return()
  endif()
  if(arg_AGENT_OBJECTS AND NOT TARGET hf_sandbox_agent_objects)
    message(STATUS "hf_sandbox: no agent in this build; the suite \"${name}\" is left out")
    return()
  endif()
  set(target hf_sandbox_${name}_tests)
  add_executable(${target} ${sources} ${_support_sources})
  target_link_libraries(${target} PRIVATE Catch2::Catch2WithMain)
  hf_sandbox_test_settings(${target})
  set(unity ${HF_SANDBOX_TEST_UNITY})
  if(arg_ALONE)
    set(unity OFF)
  endif()
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ${unity} UNITY_BUILD_BATCH_SIZE ${HF_SANDBOX_TEST_UNITY_SIZE})
  if(arg_AGENT_OBJECTS)
    target_link_libraries(${target} PRIVATE hf_sandbox_agent_objects)
    if(TARGET hf_sandbox_test_pch)  # the agent's macros change Boost: a header of its own
      target_precompile_headers(${target} PRIVATE ${_common_headers})
    endif()
  elseif(TARGET hf_sandbox_test_pch)
    target_precompile_headers(${target} REUSE_FROM hf_sandbox_test_pch)
  endif()
  foreach(library IN LISTS arg_LIBRARIES)
    if(TARGET ${library})
      target_link_libraries(${target} PRIVATE ${library})
    endif()
  endforeach()
  if(TARGET hf_sandbox_agent)
    add_dependencies(${target} hf_sandbox_agent)
  endif()
  set(lock "")
  if(arg_RESOURCE_LOCK)
    set(lock RESOURCE_LOCK ${arg_RESOURCE_LOCK})
  endif()
  hf_sandbox_discover(${target} PREFIX "${arg_PREFIX}" ${lock})
endfunction()
