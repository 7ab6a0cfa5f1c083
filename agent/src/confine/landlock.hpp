#ifndef HF_SANDBOX_AGENT_CONFINE_LANDLOCK_HPP
#define HF_SANDBOX_AGENT_CONFINE_LANDLOCK_HPP

#include "confine/report.hpp"

#include <cstdint>
#include <string>

namespace hf::agent::confine {

/// Version of the kernel's Landlock; 0 when it has none.
[[nodiscard]] int landlock_version();
/// The version that first keeps a sandbox from signals and abstract sockets outside (Linux 6.12).
inline constexpr int landlock_with_scopes = 6;

/// A set of path rules under construction. Everything that is not allowed is denied, as far as this
/// kernel's Landlock knows it; with `landlock_with_scopes` also signals to processes and
/// connections to abstract sockets outside.
class ruleset {
 public:
  explicit ruleset(report const& status);
  ruleset(ruleset const&) = delete;
  ruleset& operator=(ruleset const&) = delete;
  ~ruleset();

  /// These paths may be read and executed; paths that do not exist are passed over.
  void allow_reading(std::string const& path);
  /// These may be written, and everything but devices be made in them.
  void allow_writing(std::string const& path);
  /// These may be read, written and controlled, but not be executed or have anything made in them.
  void allow_device(std::string const& path);
  /// Applies the rules to this thread and all that comes from it. `no_new_privs` must be set.
  void enforce();

 private:
  void allow(std::string const& path, std::uint64_t rights);

  report const& status_;
  int version_;
  std::uint64_t handled_ = 0;
  int fd_ = -1;
};

}  // namespace hf::agent::confine

#endif
