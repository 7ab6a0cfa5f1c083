#include "confine/private_root.hpp"

#include "confine/etc.hpp"
#include "confine/mounts.hpp"
#include "confine/system.hpp"
#include "confine/system_paths.hpp"
#include "confine/volumes.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <string>

namespace hf::agent::confine {

namespace {

// The new root while it is being built, relative to the scratch directory.
std::string inside(std::string const& path) {
  return "root" + path;
}

void directory(std::string const& path, report const& status, unsigned mode = 0755) {
  if (int const error = make_directories(inside(path), mode))
    status.give_up("mkdir " + path, error);
}

void link(char const* target, std::string const& path, report const& status) {
  if (::symlink(target, inside(path).c_str()) != 0)
    status.give_up("link " + path, errno);
}

void empty_file(std::string const& path, report const& status) {
  if (int const error = write_file(inside(path).c_str(), ""))
    status.give_up("create " + path, error);
}

void show_system_directories(report const& status) {
  for (std::string const path : system_directories) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0)
      continue;
    if (S_ISLNK(found.st_mode)) {
      char target[PATH_MAX];
      ssize_t const length = ::readlink(path.c_str(), target, sizeof target - 1);
      if (length < 0)
        status.give_up("readlink " + path, errno);
      target[length] = '\0';
      link(target, path, status);
    } else if (S_ISDIR(found.st_mode)) {
      directory(path, status);
      bind_mount(path, inside(path), access::read_only, status);
    }
  }
}

void hide(std::vector<std::string> const& paths, report const& status) {
  for (auto const& path : paths) {
    struct stat found {};
    // Not there, or below a directory that the commands may not enter either.
    if (::lstat(inside(path).c_str(), &found) != 0 && (errno == ENOENT || errno == EACCES))
      continue;
    if (int const error = mount_new("tmpfs", inside(path),
                                    MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "mode=555"))
      status.give_up("hide " + path, error);
  }
}

void show_scratch(std::string const& from, std::string const& path, unsigned mode,
                  report const& status) {
  if (::mkdir(from.c_str(), mode) != 0 && errno != EEXIST)
    status.give_up("mkdir " + from + " in the scratch directory", errno);
  if (::chmod(from.c_str(), mode) != 0)
    status.give_up("chmod " + from, errno);
  directory(path, status);
  bind_mount(from, inside(path), access::read_write, status);
}

void memory_file_system(std::string const& path, std::string const& options, report const& status) {
  directory(path, status);
  if (int const error = mount_new("tmpfs", inside(path), MS_NOSUID | MS_NODEV, options))
    status.give_up("mount a tmpfs at " + path, error);
}

void make_devices(report const& status) {
  directory("/dev", status);
  for (std::string const name : devices) {
    std::string const path = "/dev/" + name;
    struct stat found {};
    if (::stat(path.c_str(), &found) != 0)
      continue;
    empty_file(path, status);
    bind_mount(path, inside(path), access::device, status);
  }
  link("/proc/self/fd", "/dev/fd", status);
  link("/proc/self/fd/0", "/dev/stdin", status);
  link("/proc/self/fd/1", "/dev/stdout", status);
  link("/proc/self/fd/2", "/dev/stderr", status);
  memory_file_system("/dev/shm", "mode=1777", status);
  // Terminals are a convenience: without them the sandbox is still whole.
  directory("/dev/pts", status);
  if (mount_new("devpts", inside("/dev/pts"), MS_NOSUID | MS_NOEXEC,
                "newinstance,ptmxmode=0666,mode=620") == 0)
    link("pts/ptmx", "/dev/ptmx", status);
}

void make_proc(report const& status) {
  directory("/proc", status);
  unsigned long const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (int const error = mount_new("proc", inside("/proc"), flags, ""))
    // Container engines cover parts of /proc; the kernel then refuses a fresh, uncovered one.
    if (mount_new("proc", inside("/proc"), flags, "subset=pid") != 0)
      status.give_up("mount a fresh /proc", error);
  // The descriptions of the user's kernel keys.
  for (std::string const path : {"/proc/keys", "/proc/key-users"})
    if (::access(inside(path).c_str(), F_OK) == 0)
      bind_mount("/dev/null", inside(path), access::device, status);
}

void change_root(report const& status) {
  if (::chdir("root") != 0)
    status.give_up("chdir to the private root", errno);
  if (::syscall(SYS_pivot_root, ".", ".") != 0)
    status.give_up("pivot_root", errno);
  // The old root now lies over the new one at the same place.
  if (::umount2(".", MNT_DETACH) != 0)
    status.give_up("unmount the old root", errno);
  if (::chdir("/") != 0)
    status.give_up("chdir /", errno);
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV,
              nullptr) != 0)
    status.give_up("make the private root read-only", errno);
}

}  // namespace

void enter_private_root(std::vector<volume> const& volumes, std::vector<std::string> const& hidden,
                        std::vector<std::string> const& states, report const& status) {
  ::umask(0022);
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    status.give_up("make the mounts private", errno);
  if (::mkdir("root", 0755) != 0 && errno != EEXIST)
    status.give_up("mkdir in the scratch directory", errno);
  if (int const error = mount_new("tmpfs", "root", MS_NOSUID | MS_NODEV, "mode=755,size=64m"))
    status.give_up("mount a tmpfs", error);

  show_system_directories(status);
  hide(hidden, status);
  directory("/etc", status);
  make_etc(inside("/etc"), status);
  make_devices(status);
  make_proc(status);
  memory_file_system("/run", "mode=755", status);
  show_scratch("home", inner_home, 0700, status);
  show_scratch("tmp", "/tmp", 01777, status);
  show_scratch("var-tmp", "/var/tmp", 01777, status);
  link("../run", "/var/run", status);
  show_volumes(volumes, states, "root", status);
  change_root(status);
}

}  // namespace hf::agent::confine
