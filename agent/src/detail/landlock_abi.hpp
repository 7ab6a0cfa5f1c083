#ifndef HF_SANDBOX_AGENT_DETAIL_LANDLOCK_ABI_HPP
#define HF_SANDBOX_AGENT_DETAIL_LANDLOCK_ABI_HPP

#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace hf::agent {

/// The kernel's Landlock ABI; 0 where there is none (landlock_create_ruleset(2), the version flag).
inline int landlock_abi() {
#ifdef SYS_landlock_create_ruleset
  long const number = SYS_landlock_create_ruleset;
#else
  long const number = 444;
#endif
  long const abi = ::syscall(number, nullptr, 0, 1);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

/// Names of what an ABI can do, as the common protocol spells them.
inline std::vector<std::string> landlock_features(int abi) {
  static constexpr char const* names[] = {"fs",          "refer",     "truncate",
                                          "no_tcp_bind", "ioctl_dev", "scoped_abstract_unix"};
  std::vector<std::string> features;
  for (int i = 0; i < 6 && i < abi; ++i)
    features.emplace_back(names[i]);
  return features;
}

}  // namespace hf::agent

#endif
