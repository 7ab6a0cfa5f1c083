#include "confine/namespaces.hpp"

#include "confine/system.hpp"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace hf::agent::confine {

namespace {

[[noreturn]] void give_up_namespace(char const* step, report const& status) {
  // Of namespaces, not of disk space: user.max_user_namespaces and its like.
  if (errno == ENOSPC)
    status.deny(std::string(step) + ": the limit on namespaces is reached");
  status.give_up(step, errno);
}

void map_ids(unsigned inside, unsigned long outside_uid, unsigned long outside_gid,
             report const& status) {
  auto const write_map = [&](char const* file, unsigned long outside) {
    std::string const line = std::to_string(inside) + " " + std::to_string(outside) + " 1\n";
    if (int const error = write_file(file, line))
      status.give_up(std::string("write ") + file, error);
  };
  // Only after this may a process without rights in the outer namespace map its group.
  if (int const error = write_file("/proc/self/setgroups", "deny"))
    if (error != ENOENT)
      status.give_up("write /proc/self/setgroups", error);
  write_map("/proc/self/uid_map", outside_uid);
  write_map("/proc/self/gid_map", outside_gid);
}

void raise_loopback(report const& status) {
  int const fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (fd < 0 || ::ioctl(fd, SIOCSIFFLAGS, &request) != 0)
    status.give_up("raise the loopback interface", errno);
  ::close(fd);
}

}  // namespace

void leave_namespaces(bool network, report const& status) {
  unsigned long const uid = ::geteuid();
  unsigned long const gid = ::getegid();
  int flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  if (!network)
    flags |= CLONE_NEWNET;
  if (::unshare(flags) != 0)
    give_up_namespace("create namespaces", status);
  map_ids(0, uid, gid, status);
  ::unshare(CLONE_NEWCGROUP);  // hides the cgroup's name; not there on every kernel
  if (!network)
    raise_loopback(status);
  if (::sethostname("sandbox", 7) != 0)
    status.give_up("set the host name", errno);
}

void limit_user_namespace(unsigned share) {
  struct quota {
    char const* of_each_user;
    char const* of_this_namespace;
  };
  for (auto const& one :
       {quota{"/proc/sys/fs/inotify/max_user_instances", "/proc/sys/user/max_inotify_instances"},
        quota{"/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"}})
    if (long const all = std::atol(read_file(one.of_each_user).c_str()); all > 0)
      static_cast<void>(
          write_file(one.of_this_namespace, std::to_string((std::max)(all / share, 1L))));
}

void leave_root_behind(report const& status) {
  if (::unshare(CLONE_NEWUSER) != 0)
    give_up_namespace("create the inner user namespace", status);
  map_ids(inner_id, 0, 0, status);
}

}  // namespace hf::agent::confine
