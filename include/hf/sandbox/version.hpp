#ifndef HF_SANDBOX_VERSION_HPP
#define HF_SANDBOX_VERSION_HPP

/// @file
/// The only place where the version is written; CMake, the packages and the agent read it from here.

#define HF_SANDBOX_VERSION_MAJOR 0
#define HF_SANDBOX_VERSION_MINOR 1
#define HF_SANDBOX_VERSION_PATCH 0

/// The version as one string, `major.minor.patch` (SemVer).
#define HF_SANDBOX_VERSION_STRING "0.1.0"

/// The version as one number that grows with it: major * 10000 + minor * 100 + patch.
#define HF_SANDBOX_VERSION \
  (HF_SANDBOX_VERSION_MAJOR * 10000 + HF_SANDBOX_VERSION_MINOR * 100 + HF_SANDBOX_VERSION_PATCH)

namespace hf {

/// The library's version, `major.minor.patch`; the same text as `HF_SANDBOX_VERSION_STRING`.
inline constexpr char const* version = HF_SANDBOX_VERSION_STRING;

}  // namespace hf

#endif
