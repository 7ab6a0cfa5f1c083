#include "confine/etc.hpp"

#include "confine/mounts.hpp"
#include "confine/private_root.hpp"
#include "confine/system.hpp"
#include "confine/system_paths.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <string_view>

namespace hf::agent::confine {

namespace {

constexpr off_t largest_copy = 4 << 20;

/// Whether a link's target exists inside as well.
bool leads_inside(std::string const& link_target) {
  for (char const* const prefix :
       {"/usr/", "/etc/alternatives/", "/opt/", "../usr/", "alternatives/"})
    if (link_target.rfind(prefix, 0) == 0)
      return true;
  return false;
}

void show(std::string const& name, std::string const& target, report const& status) {
  std::string const source = "/etc/" + name;
  std::string const destination = target + "/" + name;
  struct stat found {};
  if (::lstat(source.c_str(), &found) != 0)
    return;
  if (auto const slash = destination.rfind('/'); slash > target.size())
    if (int const error = make_directories(destination.substr(0, slash)))
      status.give_up("mkdir " + destination, error);
  if (S_ISLNK(found.st_mode)) {
    char link[PATH_MAX];
    ssize_t const length = ::readlink(source.c_str(), link, sizeof link);
    if (length > 0 && length < PATH_MAX) {
      std::string const link_target(link, static_cast<std::size_t>(length));
      if (leads_inside(link_target)) {
        if (::symlink(link_target.c_str(), destination.c_str()) != 0)
          status.give_up("link " + destination, errno);
        return;
      }
    }
    if (::stat(source.c_str(), &found) != 0)
      return;
  }
  if (::access(source.c_str(), R_OK) != 0)
    return;
  if (S_ISDIR(found.st_mode)) {
    if (::mkdir(destination.c_str(), 0755) != 0)
      status.give_up("mkdir " + destination, errno);
    bind_mount(source, destination, access::read_only, status);
  } else if (S_ISREG(found.st_mode) && found.st_size <= largest_copy) {
    // A copy, as a mount would keep the file of today when the host replaces it by another one.
    if (int const error = write_file(destination.c_str(), read_file(source.c_str())))
      status.give_up("copy " + source, error);
  }
}

}  // namespace

void make_etc(std::string const& target, report const& status) {
  for (char const* const name : etc_entries)
    show(name, target, status);

  auto const put = [&](char const* name, std::string const& content) {
    if (int const error = write_file((target + "/" + name).c_str(), content))
      status.give_up(std::string("write /etc/") + name, error);
  };
  put("passwd", std::string("sandbox:x:1000:1000:sandbox:") + inner_home +
                    ":/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
  put("group", "sandbox:x:1000:\nnogroup:x:65534:\n");
  put("hostname", "sandbox\n");
  put("nsswitch.conf",
      "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
      "protocols: files\nservices: files\nrpc: files\n");
  // Not the machine's, which names the computers of its network.
  put("hosts", "127.0.0.1 localhost sandbox\n::1 localhost ip6-localhost ip6-loopback\n");
  if (::symlink("/proc/self/mounts", (target + "/mtab").c_str()) != 0)
    status.give_up("link /etc/mtab", errno);
}

}  // namespace hf::agent::confine
