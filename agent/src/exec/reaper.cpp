#include "exec/reaper.hpp"

#include "exec/spawn.hpp"

#include <boost/asio/post.hpp>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <utility>

namespace hf::agent {

reaper::reaper(boost::asio::io_context& loop) : signals_(loop, SIGCHLD) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  wait_for_signal();
}

void reaper::watch(pid_t pid, std::function<void(process_end)> ended) {
  add(pid, watched{std::move(ended), false, 0});
}

void reaper::watch_helper(pid_t pid, std::function<void(process_end)> ended) {
  add(pid, watched{std::move(ended), true, 0});
}

void reaper::add(pid_t pid, watched how) {
  auto const it = unclaimed_.find(pid);
  if (it == unclaimed_.end()) {
    watched_.insert_or_assign(pid, std::move(how));
    return;
  }
  boost::asio::post(signals_.get_executor(),
                    [ended = std::move(how.ended), end = it->second] { ended(end); });
  unclaimed_.erase(it);
}

void reaper::release(pid_t started) {
  starting_.erase(started);
  if (starting_.empty())
    unclaimed_.clear();
}

void reaper::collect() {
  for (;;) {
    siginfo_t info;
    info.si_pid = 0;
    int const r = ::waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WNOHANG);
    if (r != 0 && errno == EINTR)
      continue;
    if (r != 0 || info.si_pid == 0)
      return;
    auto const it = watched_.find(info.si_pid);
    if (info.si_code == CLD_STOPPED || info.si_code == CLD_TRAPPED) {
      // A command that stops its helper must not hide its own end.
      if (it != watched_.end() && it->second.helper)
        resume_or_kill(info.si_pid, it->second.stops);
      continue;
    }
    recycle_stack(info.si_pid);
    if (it == watched_.end()) {
      if (!starting_.empty())
        unclaimed_.insert_or_assign(info.si_pid, process_end{info.si_code, info.si_status});
      continue;
    }
    auto const ended = std::move(it->second.ended);
    watched_.erase(it);
    ended({info.si_code, info.si_status});
  }
}

void reaper::stop() {
  boost::system::error_code ignored;
  signals_.cancel(ignored);
}

void reaper::wait_for_signal() {
  signals_.async_wait([this](boost::system::error_code const& error, int) {
    if (error)
      return;
    // Several ends can be behind one signal, so the wait comes first.
    wait_for_signal();
    collect();
  });
}

}  // namespace hf::agent
