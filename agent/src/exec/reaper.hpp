#ifndef HF_SANDBOX_AGENT_EXEC_REAPER_HPP
#define HF_SANDBOX_AGENT_EXEC_REAPER_HPP

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <sys/types.h>

#include <functional>
#include <unordered_map>
#include <unordered_set>

namespace hf::agent {

/// How a process ended, as in siginfo_t.
struct process_end {
  /// CLD_EXITED, CLD_KILLED or CLD_DUMPED.
  int code = 0;
  /// Exit code or signal.
  int status = 0;
};

/// The only one in the agent that waits for ends: those of watched children go to whoever started
/// them, orphans that came to the agent are collected. On the event loop's thread.
class reaper {
 public:
  /// Also makes the agent the parent of its descendants' orphans.
  explicit reaper(boost::asio::io_context& loop);

  /// A child is being started. From here to `release` the ends of children that nobody watches yet
  /// are kept, so that none is missed.
  void hold(pid_t starting) { starting_.insert(starting); }
  void release(pid_t started);

  /// Calls `ended` once, from the loop, when the child has been waited for. To be called before the
  /// loop runs again after the child was started, or between `hold` and `release`.
  void watch(pid_t pid, std::function<void(process_end)> ended);
  /// The same for a helper, which is let go on when somebody stops it (`resume_or_kill`).
  void watch_helper(pid_t pid, std::function<void(process_end)> ended);
  /// The caller is not interested any more; the child is collected all the same.
  void unwatch(pid_t pid) { watched_.erase(pid); }
  /// Whether it was started by this agent, as far as it may not have ended.
  [[nodiscard]] bool knows(pid_t pid) const {
    return watched_.count(pid) != 0 || starting_.count(pid) != 0;
  }
  /// Whether a child that nobody watches yet has been waited for, so that its pid may be another's.
  [[nodiscard]] bool has_collected(pid_t pid) const { return unclaimed_.count(pid) != 0; }

  /// Collects what has ended.
  void collect();
  /// Takes no more signals, so that the loop can end.
  void stop();

 private:
  struct watched {
    std::function<void(process_end)> ended = {};
    bool helper = false;
    int stops = 0;
  };

  void wait_for_signal();
  void add(pid_t pid, watched how);

  boost::asio::signal_set signals_;
  std::unordered_map<pid_t, watched> watched_;
  std::unordered_set<pid_t> starting_;
  /// Ends since the first `hold`, of the youngest process with that pid.
  std::unordered_map<pid_t, process_end> unclaimed_;
};

}  // namespace hf::agent

#endif
