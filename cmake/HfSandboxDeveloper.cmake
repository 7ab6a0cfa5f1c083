# Warnings and sanitizers for this project's own executables. Nothing here touches the library's
# targets or directory-wide state that a consumer would inherit.
option(HF_SANDBOX_WARNINGS "Compile the agent, tests and examples with the full set of warnings" OFF)
option(HF_SANDBOX_WERROR "Treat warnings as errors" OFF)
option(HF_SANDBOX_TIDY "Run clang-tidy along with the compiler" OFF)
set(HF_SANDBOX_SANITIZE "" CACHE STRING "Sanitizers: empty, \"address,undefined\" or \"thread\"")
set_property(CACHE HF_SANDBOX_SANITIZE PROPERTY STRINGS "" "address,undefined" "thread")

add_library(hf_sandbox_developer INTERFACE)

if(HF_SANDBOX_WARNINGS)
  target_compile_options(hf_sandbox_developer INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # g++ 12 sees dangling pointers and overlapping copies in inlined std::string code (GCC bugs
    # 105329 and 105651); with sanitizers also uninitialised unions of std::optional and variant.
    target_compile_options(hf_sandbox_developer INTERFACE -Wno-restrict)
    if(HF_SANDBOX_SANITIZE)
      target_compile_options(hf_sandbox_developer INTERFACE -Wno-maybe-uninitialized)
    endif()
  endif()
endif()
if(HF_SANDBOX_WERROR)
  target_compile_options(hf_sandbox_developer INTERFACE -Werror)
endif()
if(HF_SANDBOX_SANITIZE)
  target_compile_options(hf_sandbox_developer INTERFACE
    -fsanitize=${HF_SANDBOX_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  if(HF_SANDBOX_SANITIZE MATCHES "undefined")
    # It opens a pipe for every look, and takes an object for broken where no descriptor is left.
    target_compile_options(hf_sandbox_developer INTERFACE -fno-sanitize=vptr)
  endif()
  if(HF_SANDBOX_SANITIZE MATCHES "address")
    # Else the frames of finished coroutines are kept for the next ones, and their use is not seen.
    target_compile_definitions(hf_sandbox_developer INTERFACE BOOST_ASIO_RECYCLING_ALLOCATOR_CACHE_SIZE=0)
  endif()
  target_link_options(hf_sandbox_developer INTERFACE -fsanitize=${HF_SANDBOX_SANITIZE})
  if(HF_SANDBOX_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(hf_sandbox_developer INTERFACE -Wno-tsan)
  endif()
endif()

if(HF_SANDBOX_TIDY)
  find_program(HF_SANDBOX_CLANG_TIDY NAMES clang-tidy clang-tidy-19 clang-tidy-16 clang-tidy-14)
  if(NOT HF_SANDBOX_CLANG_TIDY)
    message(FATAL_ERROR "HF_SANDBOX_TIDY is ON but clang-tidy was not found")
  endif()
endif()

# Marks one of this project's own targets for warnings, sanitizers and tidy.
function(hf_sandbox_developer_target target)
  target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:hf_sandbox_developer>)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  if(HF_SANDBOX_TIDY)
    set_target_properties(${target} PROPERTIES CXX_CLANG_TIDY "${HF_SANDBOX_CLANG_TIDY};--quiet")
  endif()
endfunction()
