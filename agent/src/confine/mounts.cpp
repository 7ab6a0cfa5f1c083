#include "confine/mounts.hpp"

#include "confine/system.hpp"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

namespace hf::agent::confine {

namespace {

// From <linux/mount.h>, which cannot be included beside <sys/mount.h> everywhere.
struct attributes {
  std::uint64_t set;
  std::uint64_t clear;
  std::uint64_t propagation;
  std::uint64_t userns_fd;
};
constexpr std::uint64_t attribute_read_only = 0x1;
constexpr std::uint64_t attribute_nosuid = 0x2;
constexpr std::uint64_t attribute_nodev = 0x4;
constexpr std::uint64_t attribute_noexec = 0x8;
constexpr unsigned at_recursive = 0x8000;

}  // namespace

void bind_mount(std::string const& source, std::string const& target, access how,
                report const& status) {
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    status.give_up("bind " + source, errno);
  attributes wanted{};
  wanted.set = attribute_nosuid;
  if (how == access::read_only)
    wanted.set |= attribute_read_only | attribute_nodev;
  if (how == access::read_write)
    wanted.set |= attribute_nodev;
  if (how == access::device)
    wanted.set |= attribute_noexec;
  wanted.propagation = MS_PRIVATE;
  if (::syscall(sys_mount_setattr, AT_FDCWD, target.c_str(), at_recursive, &wanted,
                sizeof wanted) != 0)
    status.give_up("restrict the mount of " + source, errno);
}

int mount_new(char const* type, std::string const& target, unsigned long flags,
              std::string const& options) {
  return ::mount(type, target.c_str(), type, flags, options.empty() ? nullptr : options.c_str()) ==
                 0
             ? 0
             : errno;
}

}  // namespace hf::agent::confine
