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
constexpr unsigned open_tree_clone = 0x1;
constexpr unsigned move_mount_from_descriptor = 0x4;
constexpr unsigned move_mount_to_descriptor = 0x40;

attributes attributes_for(access how) {
  attributes wanted{};
  wanted.set = attribute_nosuid;
  if (how == access::read_only)
    wanted.set |= attribute_read_only | attribute_nodev;
  if (how == access::read_write)
    wanted.set |= attribute_nodev;
  if (how == access::device)
    wanted.set |= attribute_noexec;
  wanted.propagation = MS_PRIVATE;
  return wanted;
}

}  // namespace

void bind_mount(std::string const& source, std::string const& target, access how,
                report const& status) {
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    status.give_up("bind " + source, errno);
  auto const wanted = attributes_for(how);
  if (::syscall(sys_mount_setattr, AT_FDCWD, target.c_str(), at_recursive, &wanted,
                sizeof wanted) != 0)
    status.give_up("restrict the mount of " + source, errno);
}

void mount_tree(int source, int target, std::string const& name, access how, report const& status) {
  long const tree =
      ::syscall(sys_open_tree, source, "",
                static_cast<unsigned>(AT_EMPTY_PATH | O_CLOEXEC) | open_tree_clone | at_recursive);
  if (tree < 0)
    status.give_up("bind " + name, errno);
  // Restricted before anybody can reach it.
  auto const wanted = attributes_for(how);
  if (::syscall(sys_mount_setattr, tree, "", static_cast<unsigned>(AT_EMPTY_PATH) | at_recursive,
                &wanted, sizeof wanted) != 0)
    status.give_up("restrict the mount of " + name, errno);
  if (::syscall(sys_move_mount, tree, "", target, "",
                move_mount_from_descriptor | move_mount_to_descriptor) != 0)
    status.give_up("mount " + name, errno);
  ::close(static_cast<int>(tree));
}

int mount_new(char const* type, std::string const& target, unsigned long flags,
              std::string const& options) {
  return ::mount(type, target.c_str(), type, flags, options.empty() ? nullptr : options.c_str()) ==
                 0
             ? 0
             : errno;
}

}  // namespace hf::agent::confine
