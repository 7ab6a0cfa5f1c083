#include "files/filesystem.hpp"

#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace hf::agent {

bool is_kernel_filesystem(int fd) {
  // From linux/magic.h: proc, sysfs, debugfs, tracefs, cgroup, cgroup2, securityfs, bpf, configfs,
  // selinuxfs, smackfs.
  static constexpr std::array<std::uint32_t, 11> magics{
      0x9fa0,     0x62656572, 0x64626720, 0x74726163, 0x27e0eb,  0x63677270,
      0x73636673, 0xcafe4a11, 0x62656570, 0xf97cff8c, 0x43415d53};
  struct statfs fs {};
  if (::fstatfs(fd, &fs) != 0)
    return false;
  return std::find(magics.begin(), magics.end(), static_cast<std::uint32_t>(fs.f_type)) !=
         magics.end();
}

}  // namespace hf::agent
