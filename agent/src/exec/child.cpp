#include "exec/child.hpp"

#include "exec/raw_syscall.hpp"
#include "exec/start_slots.hpp"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

namespace hf::agent {
namespace {

#ifndef SYS_landlock_restrict_self
constexpr long landlock_restrict_self_number = 446;
#else
constexpr long landlock_restrict_self_number = SYS_landlock_restrict_self;
#endif

[[noreturn]] HF_AGENT_BARE void leave(int code) {
  for (;;)
    raw_syscall(SYS_exit_group, code);
}

[[noreturn]] HF_AGENT_BARE void fail(child_plan const& child, spawn_step step, long error,
                                     program_fault fault = program_fault::none) {
  spawn_report report{spawn_report::kind::failed, static_cast<std::int32_t>(step),
                      static_cast<std::int32_t>(-error), fault};
  raw_syscall(SYS_write, child.report, raw_pointer(&report), sizeof report);
  leave(127);
}

// Signals are blocked here. Handlers are cleared by execve, but one that came before it would run
// in the agent's memory; ignored signals would stay ignored.
HF_AGENT_BARE void reset_signals() {
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    unsigned long mask;
  } action = {nullptr, 0, nullptr, 0};
  for (int number = 1; number <= 64; ++number)
    if (number != SIGKILL && number != SIGSTOP)
      raw_syscall(SYS_rt_sigaction, number, raw_pointer(&action), 0, 8);
  unsigned long const none = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, raw_pointer(&none), 0, 8);
}

HF_AGENT_BARE void set_limits(child_plan const& child) {
  auto const& plan = *child.plan;
  for (std::size_t i = 0; i < plan.limits.size(); ++i)
    if (long const r =
            raw_syscall(SYS_prlimit64, 0, plan.limits[i].first, raw_pointer(&child.limits[i]), 0);
        r < 0)
      fail(child, spawn_step::limits, r);
  if (plan.nice)
    if (long const r = raw_syscall(SYS_setpriority, PRIO_PROCESS, 0, *plan.nice); r < 0)
      fail(child, spawn_step::limits, r);
}

// A machine whose /proc is missing or read-only has other ways to choose.
HF_AGENT_BARE void set_oom_score(child_plan const& child) {
  long length = 0;
  while (child.oom_score[length] != '\0')
    ++length;
  if (length == 0)
    return;
  long const file = raw_syscall(SYS_openat, AT_FDCWD, raw_pointer("/proc/self/oom_score_adj"),
                                O_WRONLY | O_CLOEXEC, 0);
  if (file < 0)
    return;
  raw_syscall(SYS_write, file, raw_pointer(child.oom_score), length);
  raw_syscall(SYS_close, file);
}

// Raw calls, because libc's would change the agent's other threads, too.
HF_AGENT_BARE void become_user(child_plan const& child) {
  auto const& user = *child.plan->user;
  if (long const r = raw_syscall(SYS_setgroups, static_cast<long>(user.groups.size()),
                                 raw_pointer(user.groups.data()));
      r < 0)
    fail(child, spawn_step::user, r);
  if (long const r = raw_syscall(SYS_setresgid, user.gid, user.gid, user.gid); r < 0)
    fail(child, spawn_step::user, r);
  if (long const r = raw_syscall(SYS_setresuid, user.uid, user.uid, user.uid); r < 0)
    fail(child, spawn_step::user, r);
}

HF_AGENT_BARE void drop_bounding_set(child_plan const& child) {
  for (long capability = 0; capability < 64; ++capability) {
    long const r = raw_syscall(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    // Behind the last one this kernel knows; or without CAP_SETPCAP, as in a container that lacks
    // it: no_new_privs then keeps the set from ever being used.
    if (r == -EINVAL || (r == -EPERM && child.plan->no_new_privileges))
      return;
    if (r < 0)
      fail(child, spawn_step::user, r);
  }
}

HF_AGENT_BARE void drop_capabilities(child_plan const& child) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  raw_syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (long const r = raw_syscall(SYS_capset, raw_pointer(&header), raw_pointer(&data[0])); r < 0)
    fail(child, spawn_step::user, r);
}

HF_AGENT_BARE void confine_command(child_plan const& child) {
  auto const& plan = *child.plan;
  if (plan.no_new_privileges)
    if (long const r = raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); r < 0)
      fail(child, spawn_step::landlock, r);
  if (plan.landlock_ruleset >= 0)
    if (long const r = raw_syscall(landlock_restrict_self_number, plan.landlock_ruleset, 0); r < 0)
      fail(child, spawn_step::landlock, r);
  if (plan.seccomp_filter != nullptr)
    if (long const r =
            raw_syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, raw_pointer(plan.seccomp_filter));
        r < 0)
      fail(child, spawn_step::landlock, r);
}

HF_AGENT_BARE bool try_next(long error) {
  return error == -ENOENT || error == -ENOTDIR || error == -ENODEV || error == -ESTALE ||
         error == -ETIMEDOUT;
}

// Why the kernel may not execute (`forbidden`), or does not find, what is at that path.
HF_AGENT_BARE program_fault fault_of(char const* path, bool forbidden) {
#ifdef SYS_newfstatat
  struct stat st;
  if (raw_syscall(SYS_newfstatat, AT_FDCWD, raw_pointer(path), raw_pointer(&st), 0) < 0)
    return program_fault::none;
  if (!forbidden)
    return program_fault::interpreter_missing;
  if (S_ISDIR(st.st_mode))
    return program_fault::directory;
  return (st.st_mode & 0111) == 0 ? program_fault::not_executable : program_fault::none;
#else
  static_cast<void>(path);
  static_cast<void>(forbidden);
  return program_fault::none;
#endif
}

// What a file is that the kernel takes for no program. Only a script is the shell's: what has a NUL
// in its first line is no text (POSIX: sh).
HF_AGENT_BARE long look_into(char const* path, program_fault& fault) {
  char start[256];
  long const fd = raw_syscall(SYS_openat, AT_FDCWD, raw_pointer(path), O_RDONLY | O_CLOEXEC);
  long const n = fd < 0 ? fd : raw_syscall(SYS_read, fd, raw_pointer(start), sizeof start);
  if (fd >= 0)
    raw_syscall(SYS_close, fd);
  if (n < 0)
    return n;
  fault = n == 0 ? program_fault::empty : program_fault::none;
  for (long i = 0; i < n && start[i] != '\n'; ++i)
    if (start[i] == '\0')
      fault = program_fault::foreign;
  return fault == program_fault::none ? 0 : -ENOEXEC;
}

[[noreturn]] HF_AGENT_BARE void execute(child_plan const& child) {
  long error = -ENOENT;
  bool forbidden = false;
  for (char const* const* path = child.candidates; *path != nullptr; ++path) {
    error = raw_syscall(SYS_execve, raw_pointer(*path), raw_pointer(child.argv),
                        raw_pointer(child.envp));
    if (error == -ENOEXEC) {
      program_fault fault = program_fault::none;
      if (long const unreadable = look_into(*path, fault); unreadable < 0)
        fail(child, spawn_step::exec, unreadable, fault);
      child.shell_argv[1] = *path;
      raw_syscall(SYS_execve, raw_pointer(child.shell_argv[0]), raw_pointer(child.shell_argv),
                  raw_pointer(child.envp));
      fail(child, spawn_step::exec, error);
    }
    if (error == -EACCES)
      forbidden = true;
    else if (!try_next(error))
      fail(child, spawn_step::exec, error);
  }
  if (forbidden)
    error = -EACCES;
  // One that was found explains more than all that were not there.
  for (char const* const* path = child.candidates; *path != nullptr; ++path)
    if (auto const fault = fault_of(*path, forbidden); fault != program_fault::none)
      fail(child, spawn_step::exec, forbidden ? -EACCES : -ENOENT, fault);
  fail(child, spawn_step::exec, error);
}

HF_AGENT_BARE void place(child_plan const& child, int from, int to) {
  if (long const r = raw_syscall(SYS_dup3, from, to, 0); r < 0)
    fail(child, spawn_step::fork, r);
}

}  // namespace

std::string_view to_string(spawn_step step) {
  switch (step) {
    case spawn_step::fork:
      return "fork";
    case spawn_step::limits:
      return "limits";
    case spawn_step::user:
      return "user";
    case spawn_step::landlock:
      return "landlock";
    case spawn_step::chdir:
      return "chdir";
    case spawn_step::exec:
      return "exec";
  }
  return "exec";
}

HF_AGENT_BARE void close_all_but(int* kept, int count) {
  for (int i = 1; i < count; ++i)
    for (int j = i; j > 0 && kept[j - 1] > kept[j]; --j) {
      int const larger = kept[j - 1];
      kept[j - 1] = kept[j];
      kept[j] = larger;
    }
  int first = 3;
  for (int i = 0; i < count; ++i) {
    if (kept[i] > first)
      raw_syscall(close_range_number, first, kept[i] - 1, 0);
    if (kept[i] >= first)
      first = kept[i] + 1;
  }
  raw_syscall(close_range_number, first, ~0U, 0);
}

HF_AGENT_BARE void leave_table(child_plan const& child) {
  if (child.left_table == nullptr)
    return;
  if (long const r = raw_syscall(close_range_number, start_slots::end, ~0U, close_range_unshare);
      r < 0)
    fail(child, spawn_step::fork, r);
  __atomic_store_n(child.left_table, 1, __ATOMIC_RELEASE);
  raw_syscall(SYS_futex, raw_pointer(child.left_table), FUTEX_WAKE_PRIVATE, 1);
}

HF_AGENT_BARE int run_child(void* argument) {
  auto const& child = *static_cast<child_plan const*>(argument);
  auto const& plan = *child.plan;
  leave_table(child);
  if (child.tells_pid) {
    spawn_report const report{spawn_report::kind::started,
                              static_cast<std::int32_t>(raw_syscall(SYS_getpid)), 0,
                              program_fault::none};
    raw_syscall(SYS_write, child.report, raw_pointer(&report), sizeof report);
  }
  if (plan.new_session)
    raw_syscall(SYS_setsid);
  else
    raw_syscall(SYS_setpgid, 0, 0);
  place(child, plan.in, 0);
  place(child, plan.out, 1);
  place(child, plan.err, 2);
  int kept[] = {child.report, plan.keep, plan.landlock_ruleset};
  close_all_but(kept, 3);
  if (plan.keep >= 0 && plan.keep == child.keep_as)
    raw_syscall(SYS_fcntl, plan.keep, F_SETFD, 0);
  else if (plan.keep >= 0)
    place(child, plan.keep, child.keep_as);
  set_limits(child);
  set_oom_score(child);
  if (plan.drop_capabilities)
    drop_bounding_set(child);
  if (plan.user)
    become_user(child);
  if (plan.drop_capabilities)
    drop_capabilities(child);
  if (!plan.cwd.empty())
    if (long const r = raw_syscall(SYS_chdir, raw_pointer(plan.cwd.c_str())); r < 0)
      fail(child, spawn_step::chdir, r);
  confine_command(child);
  reset_signals();
  execute(child);
}

}  // namespace hf::agent
