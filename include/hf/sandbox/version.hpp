#ifndef HF_SANDBOX_VERSION_HPP
#define HF_SANDBOX_VERSION_HPP

/// @file
/// The version of the library, the agent and the packages: the only source, read by CMake too.
/// Versions follow SemVer.

/// The major version.
#define HF_SANDBOX_VERSION_MAJOR 0
/// The minor version.
#define HF_SANDBOX_VERSION_MINOR 1
/// The patch version.
#define HF_SANDBOX_VERSION_PATCH 0

/// The version as text, `major.minor.patch`.
#define HF_SANDBOX_VERSION_STRING "0.1.0"

/// The version as one number that grows with it: major * 10000 + minor * 100 + patch.
#define HF_SANDBOX_VERSION \
  (HF_SANDBOX_VERSION_MAJOR * 10000 + HF_SANDBOX_VERSION_MINOR * 100 + HF_SANDBOX_VERSION_PATCH)

#endif
