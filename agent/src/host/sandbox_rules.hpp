#ifndef HF_SANDBOX_AGENT_HOST_SANDBOX_RULES_HPP
#define HF_SANDBOX_AGENT_HOST_SANDBOX_RULES_HPP

#include "detail/unique_fd.hpp"

#include <cstdint>
#include <vector>

namespace hf::agent {

/// Builds the Landlock rulesets of sandboxes in one machine: a home that may be used in every way,
/// system directories that may be read and executed, the usual devices; no TCP port may be bound,
/// no abstract unix socket outside be connected to. Nothing else of the file system is reachable.
///
/// Signals are not scoped: each command is a Landlock domain of its own, and commands of one
/// sandbox must be able to signal each other. Their user id keeps them from everybody else.
class sandbox_rules {
 public:
  /// Opens the system directories once; those that do not exist are left out.
  sandbox_rules();

  /// A ruleset for that home, close-on-exec. Throws `std::system_error` when the kernel has no
  /// Landlock, or lacks descriptors or memory.
  [[nodiscard]] unique_fd for_home(int home) const;

 private:
  struct rule {
    unique_fd path;
    std::uint64_t rights;
  };

  void allow(char const* path, std::uint64_t rights);

  std::vector<rule> system_;
};

/// The system call filter (a `sock_fprog`) of commands of sandboxes in one machine. Valid for ever.
[[nodiscard]] void const* sandbox_syscall_filter();

}  // namespace hf::agent

#endif
