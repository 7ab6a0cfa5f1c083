#ifndef HF_SANDBOX_VERSION_HPP
#define HF_SANDBOX_VERSION_HPP

/// The version of the library, the agent and the package: one source, read by CMake too (SemVer).
#define HF_SANDBOX_VERSION_MAJOR 0
#define HF_SANDBOX_VERSION_MINOR 1
#define HF_SANDBOX_VERSION_PATCH 0
#define HF_SANDBOX_VERSION_STRING "0.1.0"

#endif
