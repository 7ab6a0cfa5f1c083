#ifndef HF_SANDBOX_AGENT_CONFINE_SYSTEM_HPP
#define HF_SANDBOX_AGENT_CONFINE_SYSTEM_HPP

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <string_view>

namespace hf::agent::confine {

// Numbers that older kernel headers lack; from 424 on they are the same on every architecture.
inline constexpr long sys_open_tree = 428;
inline constexpr long sys_move_mount = 429;
inline constexpr long sys_fsopen = 430;
inline constexpr long sys_fsconfig = 431;
inline constexpr long sys_fsmount = 432;
inline constexpr long sys_fspick = 433;
inline constexpr long sys_clone3 = 435;
inline constexpr long sys_close_range = 436;
inline constexpr long sys_openat2 = 437;
inline constexpr long sys_mount_setattr = 442;
inline constexpr long sys_quotactl_fd = 443;
inline constexpr long sys_landlock_create_ruleset = 444;
inline constexpr long sys_landlock_add_rule = 445;
inline constexpr long sys_landlock_restrict_self = 446;
inline constexpr long sys_fchmodat2 = 452;
inline constexpr long sys_setxattrat = 463;
inline constexpr long sys_removexattrat = 466;
inline constexpr long sys_open_tree_attr = 467;
inline constexpr long sys_file_setattr = 469;

/// fork(2) in a process with one thread. Under ThreadSanitizer the runtime would start a thread of
/// its own in the child, and namespaces can only be left by single-threaded processes.
inline pid_t fork_single_threaded() {
#if defined(__SANITIZE_THREAD__)
  return static_cast<pid_t>(
      ::syscall(SYS_clone, static_cast<unsigned long>(SIGCHLD), 0UL, 0UL, 0UL, 0UL));
#else
  return ::fork();
#endif
}

/// The whole content of a small file; empty when it cannot be read.
[[nodiscard]] std::string read_file(char const* path);
/// Writes a new or existing file in one go; returns 0 or an error number.
[[nodiscard]] int write_file(char const* path, std::string_view content, unsigned mode = 0644);
/// mkdir -p below the current directory; returns 0 or an error number.
[[nodiscard]] int make_directories(std::string const& path, unsigned mode = 0755);
/// Closes every descriptor from 3 up that is not among the `count` (sorted) ones to keep.
void close_all_but(int const* keep, int count);

}  // namespace hf::agent::confine

#endif
