#ifndef HF_SANDBOX_AGENT_EXEC_REAPER_HPP
#define HF_SANDBOX_AGENT_EXEC_REAPER_HPP

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <sys/types.h>

#include <functional>
#include <unordered_map>

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

  /// Calls `ended` once, from the loop, when the child has been waited for. To be called before the
  /// loop runs again after the child was started, so that its end cannot be missed.
  void watch(pid_t pid, std::function<void(process_end)> ended);
  /// The same for a helper, which is let go on when somebody stops it (`resume_or_kill`).
  void watch_helper(pid_t pid, std::function<void(process_end)> ended);
  /// The caller is not interested any more; the child is collected all the same.
  void unwatch(pid_t pid) { watched_.erase(pid); }
  [[nodiscard]] bool watches(pid_t pid) const { return watched_.count(pid) != 0; }

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

  boost::asio::signal_set signals_;
  std::unordered_map<pid_t, watched> watched_;
};

}  // namespace hf::agent

#endif
