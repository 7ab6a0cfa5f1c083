#include "confine/keeper.hpp"

#include "confine/children.hpp"
#include "confine/log_file.hpp"

#include <hf/sandbox/detail/local_sandboxes.hpp>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <string>

namespace hf::agent::confine {

namespace {

constexpr std::size_t reported_log = 4096;

long long now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<long long>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

/// Reads what there is without blocking; false at the end of the stream.
bool drain(int fd, log_file& log) {
  char buffer[4096];
  for (;;) {
    ssize_t const n = ::read(fd, buffer, sizeof buffer);
    if (n > 0)
      log.append({buffer, static_cast<std::size_t>(n)});
    else if (n == 0)
      return false;
    else if (errno != EINTR)
      return errno == EAGAIN;
  }
}

void remove_parent_if_empty(std::string const& path) {
  ::rmdir(path.substr(0, path.rfind('/')).c_str());
}

class keeper {
 public:
  keeper(settings const& how, int agent_fd, int log_fd)
      : how_(how), agent_fd_(agent_fd), log_fd_(log_fd), log_(how.state + "/log") {
    sigset_t const signals = keeper_signals();
    signal_fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (how.lifetime > 0)
      deadline_ = now_ms() + how.lifetime * 1000;
  }

  /// Returns when the sandbox has to end.
  void watch() {
    while (!over_) {
      pollfd watched[] = {{signal_fd_, POLLIN, 0},
                          {agent_fd_, POLLIN, 0},
                          {log_fd_, POLLIN, 0},
                          {lifeline_, POLLIN, 0}};
      int const ready = ::poll(watched, 4, timeout());
      if (ready < 0 && errno != EINTR)
        return;
      if (timeout() == 0)
        return;
      if (ready <= 0)
        continue;
      if (watched[1].revents != 0)
        learn_agent();
      if (watched[2].revents != 0 && !drain(log_fd_, log_))
        log_fd_ = -1;
      if (watched[3].revents != 0)
        read_lifeline();
      if (watched[0].revents != 0)
        take_signals();
    }
  }

  /// Kills everything and clears up.
  void end(report const& status) {
    kill_all_descendants();
    if (log_fd_ >= 0)
      drain(log_fd_, log_);
    status.line("log");
    write_all(status.fd(), log_.tail(reported_log));
    clear_up();
  }

 private:
  /// From the first step on the sandbox is not found any more; to remove what it wrote may take
  /// longer. Then what keepers left that were killed at this.
  void clear_up() const {
    auto const slash = how_.state.rfind('/');
    hf::detail::local_sandboxes<> const all(how_.state.substr(0, slash));
    std::string const id = how_.state.substr(slash + 1);
    all.hide(id);
    if (!how_.alias.empty()) {
      ::unlink(how_.alias.c_str());
      remove_parent_if_empty(how_.alias);
    }
    if (hf::detail::remove_tree(how_.scratch))
      hf::detail::remove_tree(all.ended_path_of(id));
    try {
      all.remove_stale((std::chrono::steady_clock::time_point::max)());
    } catch (hf::error const&) {
      // A state directory that is not private: nothing there is touched.
    }
    if (how_.remove_base)
      remove_parent_if_empty(how_.state);
  }

  [[nodiscard]] int timeout() const {
    if (deadline_ == 0)
      return -1;
    long long const left = deadline_ - now_ms();
    if (left <= 0)
      return 0;
    // A poll in slices: its clock stands still while the machine sleeps.
    return left > 60'000 ? 60'000 : static_cast<int>(left);
  }

  void learn_agent() {
    pid_t pid = 0;
    if (::read(agent_fd_, &pid, sizeof pid) == static_cast<ssize_t>(sizeof pid))
      agent_ = pid;
    agent_fd_ = -1;
    // Whoever was to report the agent ended without having started it.
    if (agent_ == 0)
      over_ = true;
  }

  void read_lifeline() {
    char byte = 0;
    ssize_t const n = ::read(lifeline_, &byte, 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
      return;
    if (n != 1)
      over_ = true;
    lifeline_ = -1;
  }

  void take_signals() {
    signalfd_siginfo info{};
    while (::read(signal_fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
      if (info.ssi_signo != SIGCHLD)
        over_ = true;
    for (pid_t gone = 0; (gone = ::waitpid(-1, nullptr, WNOHANG)) > 0;) {
      if (agent_fd_ >= 0)
        learn_agent();
      if (gone == agent_)
        over_ = true;
    }
  }

  settings const& how_;
  int agent_fd_;
  int log_fd_;
  int lifeline_ = how_.lifeline_fd;
  int signal_fd_ = -1;
  log_file log_;
  pid_t agent_ = 0;
  long long deadline_ = 0;
  bool over_ = false;
};

}  // namespace

sigset_t keeper_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int const signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGQUIT})
    sigaddset(&signals, signal);
  return signals;
}

void keep(settings const& how, int agent_fd, int log_fd, report const& status) {
  for (int const fd : {agent_fd, log_fd, how.lifeline_fd})
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
  keeper self(how, agent_fd, log_fd);
  self.watch();
  self.end(status);
  ::_exit(0);
}

}  // namespace hf::agent::confine
