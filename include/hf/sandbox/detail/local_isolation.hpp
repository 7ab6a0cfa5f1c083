#ifndef HF_SANDBOX_DETAIL_LOCAL_ISOLATION_HPP
#define HF_SANDBOX_DETAIL_LOCAL_ISOLATION_HPP

#include <hf/sandbox/detail/local_state.hpp>
#include <hf/sandbox/launchers/process_options.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <string>

namespace hf::detail {

/// What to do where an isolation is not available; looks at the settings that usually forbid it.
template <class = void>
[[nodiscard]] std::string isolation_remedy(isolation wanted) {
  auto const setting = [](char const* path) {
    auto const value = read_file_at(AT_FDCWD, path);
    return value && !value->empty() ? value->front() : ' ';
  };
  std::string remedy;
  if (wanted == isolation::private_root) {
    if (setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == '1')
      remedy +=
          "AppArmor forbids user namespaces here: give the agent's binary a profile with "
          "'userns,' (docs/process-launcher.md), or set "
          "kernel.apparmor_restrict_unprivileged_userns=0 with sysctl. ";
    if (setting("/proc/sys/kernel/unprivileged_userns_clone") == '0')
      remedy += "Set kernel.unprivileged_userns_clone=1 with sysctl. ";
    if (setting("/proc/sys/user/max_user_namespaces") == '0')
      remedy += "Set user.max_user_namespaces to a positive number with sysctl. ";
    if (::access("/.dockerenv", F_OK) == 0 || ::access("/run/.containerenv", F_OK) == 0)
      remedy +=
          "In a container, start it with --security-opt seccomp=unconfined --security-opt "
          "apparmor=unconfined --security-opt systempaths=unconfined. ";
  }
  remedy += "Otherwise use docker_launcher, or ask for weaker isolation by name: ";
  remedy += wanted == isolation::private_root ? "isolation::landlock_only or isolation::none"
                                              : "isolation::none";
  return remedy;
}

}  // namespace hf::detail

#endif
