#include "confine/agent_side.hpp"

#include "confine/capabilities.hpp"
#include "confine/entry.hpp"
#include "confine/hidden.hpp"
#include "confine/landlock.hpp"
#include "confine/namespaces.hpp"
#include "confine/private_root.hpp"
#include "confine/seccomp_filter.hpp"
#include "confine/syscall_policy.hpp"
#include "confine/system.hpp"
#include "confine/system_paths.hpp"
#include "confine/volumes.hpp"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace hf::agent::confine {

namespace {

// Of what a user may have in the kernel (pending signals and timers, message queues, locked memory,
// inotify), a sandbox gets one part in this many.
constexpr unsigned kernel_quota_share = 4;

// Filled before there are threads, read for every command.
struct {
  std::vector<sock_filter> code;
  sock_fprog program{};
} further_filter;

void check(std::string_view step, int error, report const& status) {
  if (error != 0)
    status.give_up(step, error);
}

void tell_pid(int fd, pid_t pid) {
  write_all(fd, {reinterpret_cast<char const*>(&pid), sizeof pid});
}

void become(uid_t uid, report const& status) {
  if (uid == 0)
    return;
  check("become an unused user", become_user(uid), status);
}

/// A session keyring of its own: the caller's may hold secrets.
void leave_keyring() {
  constexpr int join_session_keyring = 1;
  ::syscall(SYS_keyctl, join_session_keyring, nullptr, 0, 0, 0);
}

/// What the kernel counts for each user, the caller's session included, is left to a sandbox in
/// part only. To be called before the namespaces are made: theirs start from these limits.
void limit_resources() {
  rlimit const no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  for (auto const kind : {RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_MEMLOCK}) {
    rlimit limit{};
    if (::getrlimit(kind, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
      continue;
    limit.rlim_cur /= kernel_quota_share;
    limit.rlim_max = limit.rlim_cur;
    ::setrlimit(kind, &limit);
  }
}

void restrict_calls(bool unix_sockets, report const& status) {
  if (!seccomp_filter::supported())
    status.deny("no system call filter is known for this architecture");
  check("install the system call filter", seccomp_filter::install(common_policy(unix_sockets)),
        status);
}

void enforce_private_rules(settings const& how, report const& status) {
  ruleset rules(status);
  rules.allow_reading("/");
  for (char const* const path : {inner_home, "/tmp", "/var/tmp", "/dev/shm", "/run"})
    rules.allow_writing(path);
  rules.allow_device("/dev");
  for (auto const& v : how.volumes)
    if (!v.read_only)
      rules.allow_writing(v.target);
  rules.enforce();
}

std::string enter_private(settings const& how, uid_t uid, int pid_fd, report const& status) {
  auto const hidden = hidden_directories(how);
  auto const states = state_directories(how);
  become(uid, status);
  auto const volumes = resolve_volumes(how.volumes, status);
  // Without Landlock's scopes nothing else keeps the host's abstract sockets away.
  bool const unix_sockets =
      unix_sockets_beside(volumes) && (!how.network || landlock_version() >= landlock_with_scopes);
  // Changing the user made the process undumpable, and so its /proc files root's.
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  leave_namespaces(how.network, status);
  limit_user_namespace(kernel_quota_share);
  pid_t const child = fork_single_threaded();
  if (child < 0)
    status.give_up("fork into the pid namespace", errno);
  if (child > 0) {
    tell_pid(pid_fd, child);
    ::_exit(0);
  }
  ::close(pid_fd);
  enter_private_root(volumes, hidden, states, status);
  leave_root_behind(status);
  check("empty the bounding set", empty_bounding_set(), status);
  check("drop capabilities", drop_capabilities(), status);
  enforce_private_rules(how, status);
  restrict_calls(unix_sockets, status);
  return inner_home;
}

/// Rules only ever add rights: around what is hidden they name every neighbour.
void allow_reading_but(ruleset& rules, std::string const& path,
                       std::vector<std::string> const& hidden) {
  bool around = false;
  for (auto const& h : hidden) {
    if (is_within(path, h))
      return;
    around = around || is_within(h, path);
  }
  if (!around) {
    rules.allow_reading(path);
    return;
  }
  std::error_code ignored;
  for (auto const& entry : std::filesystem::directory_iterator(path, ignored))
    if (!entry.is_symlink(ignored))
      allow_reading_but(rules, entry.path().string(), hidden);
}

void enforce_host_rules(std::string const& scratch, std::vector<std::string> const& hidden,
                        report const& status) {
  ruleset rules(status);
  for (char const* const path : system_directories) {
    std::error_code ignored;
    auto const real = std::filesystem::canonical(path, ignored);
    if (!real.empty())
      allow_reading_but(rules, real.string(), hidden);
  }
  for (char const* const name : etc_entries)
    rules.allow_reading(std::string("/etc/") + name);
  for (char const* const name : {"passwd", "group", "hosts", "hostname", "nsswitch.conf"})
    rules.allow_reading(std::string("/etc/") + name);
  for (char const* const path : {"/run/systemd/resolve", "/proc"})
    rules.allow_reading(path);
  for (char const* const name : devices)
    rules.allow_device(std::string("/dev/") + name);
  rules.allow_writing(scratch);
  rules.enforce();
}

std::string enter_landlock_only(settings const& how, uid_t uid, int pid_fd, report const& status) {
  if (int const version = landlock_version(); version < landlock_with_scopes)
    status.deny("this isolation needs Landlock version " + std::to_string(landlock_with_scopes) +
                " (Linux 6.12); the kernel has " + std::to_string(version));
  tell_pid(pid_fd, ::getpid());
  ::close(pid_fd);
  auto const hidden = hidden_directories(how);
  check("empty the bounding set", empty_bounding_set(), status);
  become(uid, status);
  check("drop capabilities", drop_capabilities(), status);
  enforce_host_rules(how.scratch, hidden, status);
  restrict_calls(true, status);
  further_filter.code = landlock_only_policy();
  further_filter.program.len = static_cast<unsigned short>(further_filter.code.size());
  further_filter.program.filter = further_filter.code.data();
  return how.scratch + "/home";
}

void make_scratch(uid_t uid, report const& status) {
  for (char const* const name : {"home", "tmp"}) {
    if (::mkdir(name, 0700) != 0)
      status.fail(std::string("mkdir: ") + std::strerror(errno));
    if (uid != 0 && ::chown(name, uid, uid) != 0)
      status.fail(std::string("chown: ") + std::strerror(errno));
  }
}

}  // namespace

void const* command_filter() noexcept {
  return further_filter.code.empty() ? nullptr : &further_filter.program;
}

std::string become_agent(settings const& how, uid_t uid, int pid_fd, report const& status) {
  make_scratch(uid, status);
  limit_resources();
  ::umask(0022);
  if (how.mode != mode::none)
    leave_keyring();
  std::string home;
  if (how.mode == mode::private_root) {
    home = enter_private(how, uid, pid_fd, status);
  } else {
    ::setenv("TMPDIR", (how.scratch + "/tmp").c_str(), 0);
    if (how.mode == mode::landlock_only) {
      home = enter_landlock_only(how, uid, pid_fd, status);
    } else {
      tell_pid(pid_fd, ::getpid());
      ::close(pid_fd);
      home = how.scratch + "/home";
    }
  }
  // The commands may have the agent's user id: keeps its memory, environment and descriptors away.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  return home;
}

}  // namespace hf::agent::confine
