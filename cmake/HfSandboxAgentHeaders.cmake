# The headers-only dependencies of a standalone (usually cross) build of the agent. They are found
# where the build machine has them and are linked into a folder of their own, so that none of that
# machine's system headers come along.
find_path(HF_SANDBOX_BOOST_INCLUDE_DIR boost/asio.hpp PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH)
find_path(HF_SANDBOX_JSON_INCLUDE_DIR nlohmann/json.hpp PATHS /usr/include /usr/local/include NO_CMAKE_FIND_ROOT_PATH)
if(NOT HF_SANDBOX_BOOST_INCLUDE_DIR OR NOT HF_SANDBOX_JSON_INCLUDE_DIR)
  message(FATAL_ERROR "The agent needs the headers of Boost (>= 1.74) and nlohmann/json")
endif()
set(_headers "${PROJECT_BINARY_DIR}/headers")
file(MAKE_DIRECTORY "${_headers}")
file(CREATE_LINK "${HF_SANDBOX_BOOST_INCLUDE_DIR}/boost" "${_headers}/boost" SYMBOLIC)
file(CREATE_LINK "${HF_SANDBOX_JSON_INCLUDE_DIR}/nlohmann" "${_headers}/nlohmann" SYMBOLIC)
add_library(hf_sandbox_agent_headers INTERFACE)
target_include_directories(hf_sandbox_agent_headers SYSTEM INTERFACE "${_headers}")
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
target_link_libraries(hf_sandbox_agent_headers INTERFACE Threads::Threads)
