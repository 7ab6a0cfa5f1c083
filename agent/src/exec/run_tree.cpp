#include "detail/run_blocking.hpp"
#include "exec/run.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace hf::agent {
namespace {

constexpr std::chrono::milliseconds sweep_patience(2000);

std::vector<pid_t> still_there(std::vector<process_info> const& processes) {
  std::vector<pid_t> pids;
  for (auto const& process : processes) {
    auto const now = look_at_process(process.pid);
    if (now && now->started == process.started && !now->dead())
      pids.push_back(process.pid);
  }
  return pids;
}

}  // namespace

boost::asio::awaitable<void> run::watch_helper(unique_fd reports) {
  auto const self = shared_from_this();
  boost::asio::posix::stream_descriptor descriptor(core_.shared.loop, reports.release());
  for (;;) {
    helper_record record;
    ssize_t const n = ::read(descriptor.native_handle(), &record, sizeof record);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) {
      boost::system::error_code ignored;
      co_await descriptor.async_wait(
          boost::asio::posix::descriptor_base::wait_read,
          boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
      continue;
    }
    if (n != static_cast<ssize_t>(sizeof record))
      break;
    if (record.what == helper_record::kind::leader_ended)
      leader_has_ended({record.code, record.status});
    else
      tree_gone_ = true;
  }
  ::close(descriptor.release());
  // If somebody has killed the helper, the command is the agent's child now, and so is its end.
  reports_ended_ = true;
  changed_.notify();
}

sweep_target run::target() const {
  sweep_target target;
  target.leader = pid_;
  target.leader_gone = leader_end_.has_value();
  target.helper = helper_gone_ ? 0 : helper_;
  target.marker = marker_;
  target.since = started_ticks_;
  return target;
}

void run::kill() {
  if (start_) {
    give_up_start(timed_out_ ? ETIMEDOUT : ECANCELED);
    return;
  }
  if (start_failure_)
    return;
  if (sweeping_) {
    sweep_again_ = true;
    return;
  }
  sweeping_ = true;
  // At once what needs no look at all processes: a child that was not waited for keeps its pid. A
  // helper's child does so until the helper has told; without /proc there is no other way.
  if (!leader_end_ && (helper_ == 0 || !look_at_process(::getpid()))) {
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
  }
  boost::asio::co_spawn(core_.shared.loop, sweep(), boost::asio::detached);
}

boost::asio::awaitable<void> run::sweep() {
  auto const self = shared_from_this();
  do {
    sweep_again_ = false;
    // Named, because g++ 12 destroys captures of a temporary in a co_await expression twice.
    auto work = [goal = target()] { return kill_tree(goal, sweep_patience); };
    auto const result = co_await run_blocking(core_.sweeper, std::move(work));
    co_await judge(result);
  } while (sweep_again_);
  sweeping_ = false;
  changed_.notify();
  maybe_end();
}

boost::asio::awaitable<void> run::judge(sweep_result const& result) {
  survivors_ = result.alive;
  unattributed_ = 0;
  if (helper_ != 0 && (result.blind || !result.orphans.empty())) {
    // What the helper had to say of the end is still on its way.
    auto const executor = co_await boost::asio::this_coro::executor;
    auto const until = clock::now() + sweep_patience;
    while (!reports_ended_ && clock::now() < until)
      co_await changed_.wait(executor, until - clock::now());
    if (result.blind && !tree_gone_)
      survivors_ = 1;
  }
  if (tree_gone_)
    co_return;
  // Commands and helpers that were started meanwhile are children of the agent, too.
  std::vector<process_info> unknown;
  for (auto const& orphan : result.orphans)
    if (!core_.children.knows(orphan.pid))
      unknown.push_back(orphan);
  if (unknown.empty())
    co_return;
  auto look_again = [&unknown] { return still_there(unknown); };
  for (pid_t const pid : co_await run_blocking(core_.sweeper, std::move(look_again)))
    if (!core_.children.knows(pid))
      ++unattributed_;
}

std::optional<process_info> run::look_at_leader() const {
  if (leader_end_)
    return std::nullopt;
  // With a helper the pid could have been waited for a moment ago: then it is nobody's child.
  auto const now = look_at_process(pid_);
  if (!now || now->dead() || (now->parent != helper_ && now->parent != ::getpid()))
    return std::nullopt;
  return now;
}

bool run::leader_alive() const {
  return look_at_leader() || (!leader_end_ && !look_at_process(::getpid()));
}

boost::asio::awaitable<std::size_t> run::send_signal(int number, std::string const& scope) {
  auto const self = shared_from_this();
  if (scope == "tree") {
    // What is forked while the processes are looked for must not live on.
    auto work = [goal = target(), number] {
      return number == SIGKILL ? kill_tree(goal, sweep_patience) : signal_tree(goal, number);
    };
    auto const result = co_await run_blocking(core_.sweeper, std::move(work));
    co_return result.signalled;
  }
  auto const now = look_at_leader();
  if (!now)
    co_return 0;
  if (scope == "group")
    co_return ::kill(-pid_, number) == 0 ? 1u : 0u;
  co_return signal_process(*now, number) ? 1u : 0u;
}

}  // namespace hf::agent
