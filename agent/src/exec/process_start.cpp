#include "exec/process_start.hpp"

#include "exec/child.hpp"
#include "exec/process_scan.hpp"
#include "exec/raw_syscall.hpp"
#include "exec/stacks.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace hf::agent {
namespace {

// A start takes a millisecond. From here on the process is looked after.
constexpr std::chrono::milliseconds usual(5);
constexpr std::chrono::milliseconds longest_tick(250);

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
// its pid. And no CLONE_VFORK: it would keep the agent in the kernel for as long as the child is.
// With `slots` the child also shares the agent's descriptor table, until it leaves it.
pid_t start_process(int (*run)(void*), void* stack_top, void* plan, child_plan& child,
                    start_slots::lease& slots) {
#ifdef HF_AGENT_FORK_ONLY
  static_cast<void>(stack_top);
  static_cast<void>(slots);
  static_cast<void>(child);
#else
  pid_t const shared =
      ::clone(run, stack_top, CLONE_VM | SIGCHLD | (slots ? CLONE_FILES : 0), plan);
  // An emulator that cannot share memory between processes says EINVAL.
  if (shared > 0 || (errno != EINVAL && errno != ENOSYS))
    return shared;
#endif
  pid_t const pid = ::fork();
  if (pid == 0) {
#ifndef HF_AGENT_FORK_ONLY
    // To leave the table would leave what is in it to the emulator's own threads.
    child.left_table = nullptr;
#endif
    run(plan);
  }
#ifndef HF_AGENT_FORK_ONLY
  slots.give_back();
#endif
  return pid;
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
  return std::any_of(strings.begin(), strings.end(),
                     [](std::string const& text) { return text.size() >= max_argument; });
}

}  // namespace

// All that the new process reads and writes.
struct process_start::memory {
  explicit memory(spawn_plan of)
      : plan(std::move(of)),
        argv(pointers(plan.argv)),
        envp(pointers(plan.env)),
        candidates(program_candidates(plan.argv.front(), plan.env)),
        candidate_pointers(pointers(candidates)),
        shell_argv{"/bin/sh", nullptr} {
    shell_argv.insert(shell_argv.end(), argv.begin() + 1, argv.end());
    limits.reserve(plan.limits.size());
    for (auto const& limit : plan.limits)
      limits.push_back({limit.second, limit.second});
  }

  spawn_plan plan;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<std::string> candidates;
  std::vector<char*> candidate_pointers;
  std::vector<char const*> shell_argv;
  std::vector<rlimit64> limits;
  child_plan child{};
  helper_plan helper{};
  std::int32_t left_table = 0;
  process_stack stack;
};

process_start::process_start(boost::asio::io_context& loop, reaper& children, spawn_plan plan,
                             bool attributed)
    : loop_(loop),
      children_(children),
      memory_(std::make_unique<memory>(std::move(plan))),
      attributed_(attributed),
      reports_(loop),
      tick_(loop) {}

process_start::~process_start() {
  // Not reached while the process lives: what waits for its reports holds the start. When the loop
  // is destroyed first, the process may still use the memory.
  if (reports_.is_open())
    static_cast<void>(memory_.release());
}

std::optional<spawn_failure> process_start::begin(std::function<void(outcome)> done) {
  auto& m = *memory_;
  if (too_long(m.plan.argv) || too_long(m.plan.env))
    return spawn_failure{"exec", E2BIG};
  unique_fd report_read;
  unique_fd report_write;
  unique_fd record_write;
  if (int const error = make_pipe(report_read, report_write); error != 0)
    return spawn_failure{"fork", error};
  ::fcntl(report_read.get(), F_SETFL, O_NONBLOCK);
  if (attributed_) {
    if (int const error = make_pipe(records_, record_write); error != 0)
      return spawn_failure{"fork", error};
    ::fcntl(records_.get(), F_SETFL, O_NONBLOCK);
  }
  int report = report_write.get();
  int records = record_write.get();
  int const keep_as = m.plan.keep;
  slots_ = start_slots::common().take();
  if (slots_)
    for (int* const fd : {&m.plan.in, &m.plan.out, &m.plan.err, &m.plan.keep,
                          &m.plan.landlock_ruleset, &report, &records})
      *fd = slots_.place(*fd);
  m.child = {&m.plan,
             m.argv.data(),
             m.envp.data(),
             m.candidate_pointers.data(),
             m.shell_argv.data(),
             m.limits.data(),
             {},
             report,
             attributed_,
             keep_as,
             slots_ ? &m.left_table : nullptr};
  if (m.plan.oom_score)
    std::snprintf(m.child.oom_score, sizeof m.child.oom_score, "%d", *m.plan.oom_score);
  if (attributed_) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    m.helper = {m.child, records, static_cast<int>((std::min)(files.rlim_cur, rlim_t{65536})), 0};
  }
  m.stack = take_stack();
  if (!m.stack)
    return spawn_failure{"fork", ENOMEM};

  boost::system::error_code failed;
  reports_.assign(report_read.get(), failed);
  if (failed)
    return spawn_failure{"fork", failed.value()};
  static_cast<void>(report_read.release());
  quiet_since_ = clock::now();
  {
    all_signals_blocked const blocked;
    first_ = attributed_
                 ? start_process(run_helper, m.stack.top(), &m.helper, m.helper.child, slots_)
                 : start_process(run_child, m.stack.top(), &m.child, m.child, slots_);
  }
  if (first_ < 0) {
    int const error = errno;
    reports_.close(failed);
    return spawn_failure{"fork", error};
  }
  wait_for_own_table();
  children_.hold(first_);
  done_ = std::move(done);
  wait_for_reports();
  wait_for_tick();
  return std::nullopt;
}

// Some microseconds. Who stops or kills the process before it gets there delays the agent by no
// more than this, and the slots until somebody looks.
void process_start::wait_for_own_table() {
  if (!slots_)
    return;
  timespec const longest{0, 2'000'000};
  if (__atomic_load_n(&memory_->left_table, __ATOMIC_ACQUIRE) == 0)
    ::syscall(SYS_futex, &memory_->left_table, FUTEX_WAIT_PRIVATE, 0, &longest, nullptr, 0);
  if (__atomic_load_n(&memory_->left_table, __ATOMIC_ACQUIRE) != 0)
    slots_.give_back();
}

void process_start::wait_for_reports() {
  reports_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                      [self = shared_from_this()](boost::system::error_code const& error) {
                        if (!error && self->memory_)
                          self->read_reports();
                      });
}

void process_start::read_reports() {
  for (;;) {
    spawn_report report;
    ssize_t const n = ::read(reports_.native_handle(), &report, sizeof report);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN)
      return wait_for_reports();
    // The end: the program has been executed, or nobody is left who could.
    if (n != static_cast<ssize_t>(sizeof report))
      return finish();
    if (report.what == spawn_report::kind::started) {
      told_ = report.value;
      if (killed_)
        kill();
    } else if (!failure_) {
      failure_ = spawn_failure{to_string(static_cast<spawn_step>(report.value)), report.error,
                               report.fault};
    }
  }
}

void process_start::wait_for_tick() {
  auto const so_far =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - quiet_since_);
  tick_.expires_after(std::clamp(so_far / 4, usual, longest_tick));
  tick_.async_wait([self = weak_from_this()](boost::system::error_code const& error) {
    if (auto const me = self.lock(); me && !error)
      me->look_after_it();
  });
}

// A quick command can stop its helper before that has closed the report pipe, and any process of
// the same user can stop one that has not executed its program yet. Nobody else would notice.
void process_start::look_after_it() {
  // The reports cannot end before the agent's own copy is closed.
  if (__atomic_load_n(&memory_->left_table, __ATOMIC_ACQUIRE) != 0 ||
      children_.has_collected(first_))
    slots_.give_back();
  if (told_ <= 0)
    told_ = __atomic_load_n(&memory_->helper.started, __ATOMIC_ACQUIRE);
  for (pid_t const pid : {first_, told_}) {
    if (pid <= 0 || (pid == first_ && children_.has_collected(first_)))
      continue;
    auto const now = look_at_process(pid);
    if (now && now->state == 'T' && (now->parent == ::getpid() || now->parent == first_)) {
      signal_process(*now, ++stops_ > tolerated_stops ? SIGKILL : SIGCONT);
      // Who is at it stops it again.
      quiet_since_ = clock::now();
    }
  }
  wait_for_tick();
}

void process_start::kill() {
  killed_ = true;
  if (!memory_)
    return;
  if (told_ <= 0)
    told_ = __atomic_load_n(&memory_->helper.started, __ATOMIC_ACQUIRE);
  if (told_ > 0)
    if (auto const now = look_at_process(told_);
        now && (now->parent == first_ || now->parent == ::getpid()))
      signal_process(*now, SIGKILL);
  if (first_ > 0 && !children_.has_collected(first_))
    ::kill(first_, SIGKILL);
}

void process_start::finish() {
  struct hold {
    reaper& of;
    pid_t child;
    ~hold() { of.release(child); }
  } const until_watched{children_, first_};
  tick_.cancel();
  slots_.give_back();
  // Out of epoll first: a copy of the descriptor may live on in a process that is being started.
  ::close(reports_.release());
  // A helper stays on its stack, and its command was on it, too, until now.
  if (attributed_ && !children_.has_collected(first_))
    lend_stack(first_, std::move(memory_->stack));
  else
    give_back_stack(std::move(memory_->stack));
  memory_.reset();
  spawned process;
  process.pid = attributed_ ? told_ : first_;
  if (attributed_) {
    process.helper = first_;
    process.reports = std::move(records_);
  }
  outcome how = std::move(process);
  if (failure_)
    how = *failure_;
  else if ((attributed_ ? told_ : first_) <= 0)
    // Killed before anything ran.
    how = spawn_failure{"fork", EAGAIN};
  std::exchange(done_, nullptr)(std::move(how));
}

}  // namespace hf::agent
