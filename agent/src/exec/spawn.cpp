#include "exec/spawn.hpp"

#include "exec/child.hpp"
#include "exec/process_scan.hpp"
#include "exec/raw_syscall.hpp"
#include "exec/stacks.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string>

namespace hf::agent {
namespace {

constexpr std::string_view default_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string_view variable(std::vector<std::string> const& env, std::string_view name, bool& found) {
  for (std::string_view const entry : env)
    if (entry.size() > name.size() && entry[name.size()] == '=' && entry.starts_with(name)) {
      found = true;
      return entry.substr(name.size() + 1);
    }
  found = false;
  return {};
}

class all_signals_blocked {
 public:
  all_signals_blocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  all_signals_blocked(all_signals_blocked const&) = delete;
  all_signals_blocked& operator=(all_signals_blocked const&) = delete;
  ~all_signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

// A pipe above the standard streams, close-on-exec.
int make_pipe(unique_fd& read_end, unique_fd& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return errno;
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
  return 0;
}

// A child that runs in the agent's memory on a stack of its own, or a fork where that is not
// possible; `run` does not return. No pidfd is needed for a child of our own: only our waitid frees
// its pid. And no CLONE_VFORK: it would keep the agent in the kernel for as long as somebody keeps
// the child stopped. `read_reports` waits instead; the kernel takes the shared memory away from the
// child before it closes the child's descriptors, in execve and in exit.
pid_t start_process(int (*run)(void*), void* stack_top, void* plan) {
#ifdef HF_AGENT_FORK_ONLY
  static_cast<void>(stack_top);
#else
  pid_t const shared = ::clone(run, stack_top, CLONE_VM | SIGCHLD, plan);
  // An emulator that cannot share memory between processes says EINVAL.
  if (shared > 0 || (errno != EINVAL && errno != ENOSYS))
    return shared;
#endif
  pid_t const pid = ::fork();
  if (pid == 0)
    run(plan);
  return pid;
}

pid_t start_helper(helper_plan& helper) {
  helper_stack stack = take_helper_stack();
  if (!stack) {
    errno = ENOMEM;
    return -1;
  }
  pid_t const pid = start_process(run_helper, stack.top(), &helper);
  if (pid > 0)
    lend_helper_stack(pid, std::move(stack));
  return pid;
}

struct reports {
  pid_t started = -1;
  std::optional<spawn_failure> failure = {};
};

// A quick command can stop its helper before that has closed the report pipe, and any process of
// the same user can stop one that has not executed its program yet. Nobody else is there to notice:
// the event loop waits for the start.
void resume_stopped(pid_t child, int& stops) {
  siginfo_t info;
  info.si_pid = 0;
  if (::waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WNOHANG) == 0 &&
      info.si_pid == child) {
    resume_or_kill(child, stops);
    return;
  }
  // A helper waits for its child to execute the program. The look is one at all processes, and
  // happens to starts that take long only.
  for (auto const& process : scan_processes())
    if (process.parent == child && process.state == 'T')
      signal_process(process, ++stops > tolerated_stops ? SIGKILL : SIGCONT);
}

// Until the program has been executed, or has failed to be: then no writer is left.
reports read_reports(int fd, pid_t child) {
  constexpr int patience_ms = 5;
  reports seen;
  int stops = 0;
  spawn_report report;
  for (;;) {
    pollfd readable{fd, POLLIN, 0};
    if (::poll(&readable, 1, patience_ms) == 0) {
      resume_stopped(child, stops);
      continue;
    }
    ssize_t const n = ::read(fd, &report, sizeof report);
    if (n < 0 && errno == EINTR)
      continue;
    if (n != static_cast<ssize_t>(sizeof report))
      return seen;
    if (report.what == spawn_report::kind::started)
      seen.started = report.value;
    else if (!seen.failure)
      seen.failure = spawn_failure{to_string(static_cast<spawn_step>(report.value)), report.error};
  }
}

std::vector<char*> pointers(std::vector<std::string> const& strings) {
  std::vector<char*> result;
  result.reserve(strings.size() + 1);
  for (auto const& text : strings)
    result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

bool too_long(std::vector<std::string> const& strings) {
  for (auto const& text : strings)
    if (text.size() >= max_argument)
      return true;
  return false;
}

}  // namespace

void resume_or_kill(pid_t child, int& stops) {
  ::kill(child, ++stops > tolerated_stops ? SIGKILL : SIGCONT);
}

bool spawn_failure::exhausted() const noexcept {
  return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

std::vector<std::string> program_candidates(std::string const& program,
                                            std::vector<std::string> const& env) {
  if (program.find('/') != std::string::npos)
    return {program};
  if (program.empty())
    return {};
  bool found = false;
  std::string_view path = variable(env, "PATH", found);
  if (!found)
    path = default_path;
  std::vector<std::string> candidates;
  for (;;) {
    auto const colon = path.find(':');
    std::string candidate(path.substr(0, colon));
    // An empty part means the working directory.
    candidate += candidate.empty() ? "./" : "/";
    candidates.push_back(candidate + program);
    if (colon == path.npos)
      return candidates;
    path.remove_prefix(colon + 1);
  }
}

std::optional<int> limit_by_name(std::string_view name) {
  struct entry {
    std::string_view name;
    int number;
  };
  static constexpr entry known[] = {
      {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"as", RLIMIT_AS},
      {"cpu", RLIMIT_CPU},       {"fsize", RLIMIT_FSIZE}, {"core", RLIMIT_CORE},
      {"stack", RLIMIT_STACK},   {"data", RLIMIT_DATA},   {"memlock", RLIMIT_MEMLOCK}};
  for (auto const& limit : known)
    if (limit.name == name)
      return limit.number;
  return std::nullopt;
}

std::variant<spawned, spawn_failure> spawn(spawn_plan const& plan, bool attributed) {
  if (too_long(plan.argv) || too_long(plan.env))
    return spawn_failure{"exec", E2BIG};
  auto const argv = pointers(plan.argv);
  auto const envp = pointers(plan.env);
  auto const candidates = program_candidates(plan.argv.front(), plan.env);
  auto const candidate_pointers = pointers(candidates);
  std::vector<char const*> shell_argv{"/bin/sh", nullptr};
  shell_argv.insert(shell_argv.end(), argv.begin() + 1, argv.end());
  std::vector<rlimit64> limits;
  for (auto const& limit : plan.limits)
    limits.push_back({limit.second, limit.second});

  unique_fd report_read;
  unique_fd report_write;
  if (int const error = make_pipe(report_read, report_write); error != 0)
    return spawn_failure{"fork", error};
  child_plan child{&plan,
                   argv.data(),
                   envp.data(),
                   candidate_pointers.data(),
                   shell_argv.data(),
                   limits.data(),
                   {},
                   report_write.get(),
                   attributed};
  if (plan.oom_score)
    std::snprintf(child.oom_score, sizeof child.oom_score, "%d", *plan.oom_score);

  spawned result;
  unique_fd record_write;
  helper_plan helper{child, nullptr, -1, 0};
  if (attributed) {
    if (int const error = make_pipe(result.reports, record_write); error != 0)
      return spawn_failure{"fork", error};
    helper.child_stack_top = child_stack().top();
    helper.records = record_write.get();
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    helper.highest_fd = static_cast<int>((std::min)(files.rlim_cur, rlim_t{65536}));
  }
  if (!child_stack())
    return spawn_failure{"fork", ENOMEM};

  {
    all_signals_blocked const blocked;
    pid_t const started =
        attributed ? start_helper(helper) : start_process(run_child, child_stack().top(), &child);
    if (started < 0)
      return spawn_failure{"fork", errno};
    (attributed ? result.helper : result.pid) = started;
    report_write.reset();
    record_write.reset();
    auto const seen = read_reports(report_read.get(), started);
    if (seen.failure)
      return *seen.failure;
    if (attributed)
      result.pid = seen.started;
  }
  // Killed before anything ran.
  if (result.pid <= 0)
    return spawn_failure{"fork", EAGAIN};
  if (result.reports)
    ::fcntl(result.reports.get(), F_SETFL, O_NONBLOCK);
  return result;
}

}  // namespace hf::agent
