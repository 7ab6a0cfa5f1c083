#ifndef HF_SANDBOX_AGENT_EXEC_PROCESS_START_HPP
#define HF_SANDBOX_AGENT_EXEC_PROCESS_START_HPP

#include "exec/reaper.hpp"
#include "exec/spawn.hpp"
#include "exec/start_slots.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <variant>

namespace hf::agent {

/// A process on its way to its program. On the event loop's thread.
///
/// The new process shares the agent's memory, as after vfork, so that none is copied; but the agent
/// does not wait for it. Opening a program can take as long as somebody likes (a lease, a file
/// system that does not answer), and meanwhile the loop goes on. The start owns what the new
/// process reads, the stack included, until that has executed its program or has ended, whoever
/// else has given up. The kernel takes the shared memory away before it closes the report pipe, in
/// execve and in exit, so the pipe's end is when all of it is free.
///
/// The process is the agent's child, to be waited for by the reaper. With `attributed` it is the
/// child of a helper process, which collects all descendants, reports the process's end and its own
/// (when no descendant is left), and whose end the reaper sees.
class process_start : public std::enable_shared_from_this<process_start> {
 public:
  using outcome = std::variant<spawned, spawn_failure>;

  process_start(boost::asio::io_context& loop, reaper& children, spawn_plan plan, bool attributed);
  process_start(process_start const&) = delete;
  process_start& operator=(process_start const&) = delete;
  ~process_start();

  /// Starts the process. The descriptors of the plan are its own when this returns. `done` is
  /// called once, from the loop, with a process that runs its program or the step that failed; what
  /// it starts to watch (`reaper::watch`) has not been missed. With an error nothing was started,
  /// and `done` is not called.
  std::optional<spawn_failure> begin(std::function<void(outcome)> done);

  /// Kills what has been started. `done` follows when it is gone; that can take as long as the
  /// kernel lets the process hang.
  void kill();

 private:
  using clock = std::chrono::steady_clock;
  struct memory;

  void wait_for_own_table();
  void wait_for_reports();
  void read_reports();
  void wait_for_tick();
  void look_after_it();
  void finish();

  boost::asio::io_context& loop_;
  reaper& children_;
  std::unique_ptr<memory> memory_;
  bool attributed_;
  std::function<void(outcome)> done_;
  boost::asio::posix::stream_descriptor reports_;
  boost::asio::steady_timer tick_;
  /// From here on the pauses between two looks at the process grow.
  clock::time_point quiet_since_ = {};
  /// The child that was started: the process, or its helper.
  pid_t first_ = -1;
  /// The process behind a helper, once it has told.
  pid_t told_ = -1;
  unique_fd records_;
  start_slots::lease slots_;
  std::optional<spawn_failure> failure_;
  int stops_ = 0;
  bool killed_ = false;
};

}  // namespace hf::agent

#endif
