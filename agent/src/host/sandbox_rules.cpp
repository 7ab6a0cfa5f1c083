#include "host/sandbox_rules.hpp"

#include "confine/seccomp_filter.hpp"
#include "confine/syscall_policy.hpp"
#include "confine/system.hpp"
#include "detail/landlock_abi.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace hf::agent {
namespace {

// From <linux/landlock.h>; older headers lack the newer rights.
constexpr std::uint64_t fs_execute = 1ULL << 0;
constexpr std::uint64_t fs_write_file = 1ULL << 1;
constexpr std::uint64_t fs_read_file = 1ULL << 2;
constexpr std::uint64_t fs_read_dir = 1ULL << 3;
constexpr std::uint64_t fs_make_char = 1ULL << 6;
constexpr std::uint64_t fs_make_block = 1ULL << 11;
constexpr std::uint64_t fs_refer = 1ULL << 13;
constexpr std::uint64_t fs_truncate = 1ULL << 14;
constexpr std::uint64_t fs_ioctl_dev = 1ULL << 15;
constexpr std::uint64_t net_bind_tcp = 1ULL << 0;
constexpr std::uint64_t scope_abstract_unix_socket = 1ULL << 0;
constexpr int rule_path_beneath = 1;

constexpr std::uint64_t only_files =
    fs_execute | fs_write_file | fs_read_file | fs_truncate | fs_ioctl_dev;
constexpr std::uint64_t reading = fs_read_file | fs_read_dir;
constexpr std::uint64_t executing = reading | fs_execute;
constexpr std::uint64_t devices = reading | fs_write_file | fs_ioctl_dev;

struct ruleset_attributes {
  std::uint64_t handled_access_fs;
  std::uint64_t handled_access_net;
  std::uint64_t scoped;
};

struct [[gnu::packed]] path_rule {
  std::uint64_t allowed_access;
  std::int32_t parent_fd;
};

ruleset_attributes handled_by(int abi) {
  ruleset_attributes handled{};
  handled.handled_access_fs = (1ULL << 13) - 1;
  if (abi >= 2)
    handled.handled_access_fs |= fs_refer;
  if (abi >= 3)
    handled.handled_access_fs |= fs_truncate;
  if (abi >= 4)
    handled.handled_access_net = net_bind_tcp;
  if (abi >= 5)
    handled.handled_access_fs |= fs_ioctl_dev;
  if (abi >= 6)
    handled.scoped = scope_abstract_unix_socket;
  return handled;
}

// Older kernels refuse a structure that is longer than the one they know.
std::size_t size_for(int abi) {
  if (abi >= 6)
    return sizeof(ruleset_attributes);
  return (abi >= 4 ? 2 : 1) * sizeof(std::uint64_t);
}

[[noreturn]] void fail(char const* what) {
  throw std::system_error(errno, std::system_category(), what);
}

void add_rule(int ruleset, int path, std::uint64_t rights) {
  path_rule const rule{rights, path};
  if (::syscall(confine::sys_landlock_add_rule, ruleset, rule_path_beneath, &rule, 0) != 0)
    fail("add a Landlock rule");
}

}  // namespace

sandbox_rules::sandbox_rules() {
  for (char const* path :
       {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32", "/etc", "/opt", "/run"})
    allow(path, executing);
  for (char const* path : {"/proc", "/sys"})
    allow(path, reading);
  for (char const* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
                           "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/fd"})
    allow(path, devices);
}

void sandbox_rules::allow(char const* path, std::uint64_t rights) {
  unique_fd opened(::open(path, O_PATH | O_CLOEXEC));
  struct stat found {};
  if (!opened || ::fstat(opened.get(), &found) != 0)
    return;
  system_.push_back({std::move(opened), S_ISDIR(found.st_mode) ? rights : rights & only_files});
}

unique_fd sandbox_rules::for_home(int home) const {
  int const abi = landlock_abi();
  if (abi == 0) {
    errno = ENOSYS;
    fail("create a Landlock ruleset");
  }
  auto const handled = handled_by(abi);
  unique_fd ruleset(static_cast<int>(
      ::syscall(confine::sys_landlock_create_ruleset, &handled, size_for(abi), 0)));
  if (!ruleset)
    fail("create a Landlock ruleset");
  for (auto const& one : system_)
    add_rule(ruleset.get(), one.path.get(), one.rights & handled.handled_access_fs);
  add_rule(ruleset.get(), home, handled.handled_access_fs & ~(fs_make_char | fs_make_block));
  return ruleset;
}

void const* sandbox_syscall_filter() {
  static std::vector<sock_filter> const program = [] {
    auto code = confine::common_policy(true);
    confine::seccomp_filter more;
    // Objects of System V and POSIX IPC outlive their makers, and would be found by the next
    // sandbox with that user id.
    more.deny({SYS_shmget, SYS_shmat, SYS_shmctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv, SYS_msgctl,
               SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_mq_open, SYS_mq_unlink},
              ENOSYS);
    // In place of the first filter's last instruction, which allows what no rule has denied.
    code.pop_back();
    auto const rest = more.finish();
    code.insert(code.end(), rest.begin(), rest.end());
    return code;
  }();
  static sock_fprog const filter{static_cast<unsigned short>(program.size()),
                                 const_cast<sock_filter*>(program.data())};
  return confine::seccomp_filter::supported() ? &filter : nullptr;
}

}  // namespace hf::agent
