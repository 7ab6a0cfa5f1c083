#include "exec/child.hpp"
#include "exec/raw_syscall.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>

namespace hf::agent {
namespace {

HF_AGENT_BARE void close_from(int first, int highest) {
  if (raw_syscall(close_range_number, first, ~0U, 0) == 0)
    return;
  for (int fd = first; fd <= highest; ++fd)
    raw_syscall(SYS_close, fd);
}

#ifdef HF_AGENT_FORK_ONLY
HF_AGENT_BARE long start_command(helper_plan& helper) {
  pid_t const pid = ::fork();
  if (pid == 0)
    run_child(&helper.child);
  if (pid < 0)
    return -errno;
  spawn_report const report{spawn_report::kind::started, pid, 0, program_fault::none};
  raw_syscall(SYS_write, helper.child.report, raw_pointer(&report), sizeof report);
  return pid;
}
#else
// As vfork: the command starts on this very stack while its parent waits. No libc, whose errno is
// the agent's; and a function of its own, so that the child changes nothing in the parent's frame.
HF_AGENT_BARE __attribute__((noinline)) long start_command(helper_plan& helper) {
  constexpr long flags = CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD;
  long const told = raw_pointer(&helper.started);
  long pid;
#if defined(__x86_64__)
  register long r10 __asm__("r10") = 0;
  register long r8 __asm__("r8") = 0;
  __asm__ volatile("syscall"
                   : "=a"(pid)
                   : "a"(SYS_clone), "D"(flags), "S"(0L), "d"(told), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
#else
  register long x8 __asm__("x8") = SYS_clone;
  register long x0 __asm__("x0") = flags;
  register long x1 __asm__("x1") = 0;
  register long x2 __asm__("x2") = told;
  register long x3 __asm__("x3") = 0;
  register long x4 __asm__("x4") = 0;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
                   : "memory", "cc");
  pid = x0;
#endif
  if (pid == 0)
    run_child(&helper.child);
  return pid;
}
#endif

HF_AGENT_BARE void write_record(helper_record::kind what, int code, int status) {
  helper_record record{what, code, status};
  while (raw_syscall(SYS_write, 0, raw_pointer(&record), sizeof record) == -EINTR) {
  }
}

}  // namespace

HF_AGENT_BARE int run_helper(void* argument) {
  auto& helper = *static_cast<helper_plan*>(argument);
  leave_table(helper.child);
  helper.child.left_table = nullptr;
  raw_syscall(SYS_setpgid, 0, 0);
  char const name[] = "sbx-helper";
  raw_syscall(SYS_prctl, PR_SET_NAME, raw_pointer(name), 0, 0, 0);
  auto const& plan = *helper.child.plan;
  int kept[] = {helper.child.report, helper.records,       plan.in, plan.out, plan.err,
                plan.keep,           plan.landlock_ruleset};
  close_all_but(kept, 7);
  // Without this a descendant that loses its parent would go to the agent, unattributed.
  long failure = raw_syscall(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  // An emulator may not know it (qemu-user); the marker then finds what the parentage does not.
  if (failure == -EINVAL)
    failure = 0;
  long const pid = failure < 0 ? failure : start_command(helper);

  // From the report's end on the agent goes on, and the plan is gone.
  int const highest = helper.highest_fd;
  raw_syscall(SYS_dup3, helper.records, 0, 0);
  raw_syscall(SYS_dup3, helper.child.report, 1, 0);
  close_from(2, highest);
  if (pid < 0) {
    spawn_report const report{spawn_report::kind::failed,
                              static_cast<std::int32_t>(spawn_step::fork),
                              static_cast<std::int32_t>(-pid), program_fault::none};
    raw_syscall(SYS_write, 1, raw_pointer(&report), sizeof report);
  }
  raw_syscall(SYS_close, 1);

  while (pid > 0) {
    siginfo_t info;
    info.si_pid = 0;
    long const r = raw_syscall(SYS_waitid, P_ALL, 0, raw_pointer(&info), WEXITED | WNOWAIT, 0);
    if (r == -EINTR)
      continue;
    if (r < 0)
      break;
    // Told first, collected then: if this process is killed in between, the agent becomes the
    // parent and still learns how the command ended.
    long const ended = info.si_pid;
    if (ended == pid)
      write_record(helper_record::kind::leader_ended, info.si_code, info.si_status);
    while (raw_syscall(SYS_waitid, P_PID, ended, raw_pointer(&info), WEXITED, 0) == -EINTR) {
    }
  }
  write_record(helper_record::kind::all_gone, 0, 0);
  for (;;)
    raw_syscall(SYS_exit_group, 0);
}

}  // namespace hf::agent
