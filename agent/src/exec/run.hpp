#ifndef HF_SANDBOX_AGENT_EXEC_RUN_HPP
#define HF_SANDBOX_AGENT_EXEC_RUN_HPP

#include "exec/command_plan.hpp"
#include "exec/core.hpp"
#include "exec/output_log.hpp"
#include "exec/process_start.hpp"
#include "exec/stdin_pipe.hpp"
#include "exec/sweep.hpp"
#include "exec/wake_list.hpp"

#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/exec.hpp>
#include <hf/sandbox/wire/processes.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace hf::agent {

/// One command from its start to the last byte of its output. On the event loop's thread.
///
/// It lives as long as one of its pipes is open, or somebody holds it.
class run : public std::enable_shared_from_this<run> {
 public:
  using clock = std::chrono::steady_clock;

  /// `foreground`: somebody waits for it, and when he is gone it ends.
  run(exec_core& core, run_account account, wire::exec_request request, bool foreground);
  run(run const&) = delete;
  run& operator=(run const&) = delete;
  ~run();

  /// Begins to start the command; throws `http_error` when that fails at once. When it has started,
  /// or has not, `settled` is called once, from the loop. `user` is who the request's `user` means.
  void start(command_base const& base, std::optional<identity> const& user,
             std::function<void(run&)> settled);
  /// Its program has not been executed yet.
  [[nodiscard]] bool starting() const noexcept { return start_ != nullptr; }
  /// Why it has not started.
  [[nodiscard]] std::optional<http_error> const& start_failure() const noexcept {
    return start_failure_;
  }
  /// It is reachable by this id; without one, by nobody but its caller.
  void name(std::string id) { id_ = std::move(id); }

  [[nodiscard]] std::string const& id() const noexcept { return id_; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] std::string const& op() const noexcept { return op_; }
  [[nodiscard]] bool foreground() const noexcept { return foreground_; }
  [[nodiscard]] bool has_input_stream() const noexcept { return input_stream_; }
  [[nodiscard]] std::shared_ptr<stdin_pipe> const& input() const noexcept { return input_; }
  /// The command itself has ended; its output may still be on its way.
  [[nodiscard]] bool leader_ended() const noexcept { return leader_end_.has_value(); }
  /// The command itself runs at this moment, whatever has been reported of it.
  [[nodiscard]] bool leader_alive() const;
  /// The exit event is there, all output is in the log.
  [[nodiscard]] bool ended() const noexcept { return exit_.has_value(); }
  [[nodiscard]] wire::exit_event exit_event() const;
  [[nodiscard]] std::uint64_t exit_seq() const noexcept { return exit_ ? exit_->seq : 0; }
  /// No pipe is open any more.
  [[nodiscard]] bool output_complete() const noexcept { return open_pipes_ == 0; }
  [[nodiscard]] output_log& log() noexcept { return log_; }
  [[nodiscard]] wire::process_entry entry() const;
  [[nodiscard]] wire::run_status status() const;
  /// Number of the oldest record, or exit, that can still be had.
  [[nodiscard]] std::uint64_t first_seq() const;

  /// Lives until the new process has executed its program or is gone, also when the run has given
  /// up before. To be asked right after `start`.
  [[nodiscard]] std::weak_ptr<void const> start_under_way() const;

  /// Notified whenever there is more to read, or something has ended.
  [[nodiscard]] wake_list& changed() noexcept { return changed_; }
  /// Called once when the run has ended.
  void on_ended(std::function<void(run&)> callback) { on_ended_ = std::move(callback); }

  /// A reader has come, or has got something, or has gone.
  void attach(log_reader& reader);
  void detach(log_reader& reader);
  void reader_progress(log_reader& reader);
  /// The exit event has reached somebody.
  void exit_delivered() noexcept { exit_delivered_ = true; }
  [[nodiscard]] bool is_exit_delivered() const noexcept { return exit_delivered_; }

  /// Kills the command with all its descendants; one that is starting does not start.
  void kill();
  [[nodiscard]] bool killing() const noexcept { return sweeping_; }
  /// What the last `kill` left: processes alive, and such that may belong to the run.
  [[nodiscard]] std::size_t survivors() const noexcept { return survivors_; }
  [[nodiscard]] std::size_t unattributed() const noexcept { return unattributed_; }
  /// Sends a signal; how many processes got it. `scope` has to outlive the call.
  boost::asio::awaitable<std::size_t> send_signal(int number, std::string const& scope);

  /// Nobody can ask for this run any more: what its last readers leave is dropped.
  void forget();
  /// Gives up the output once its readers have gone, keeps the result.
  void drop_output() { log_.clear_when_unread(); }

 private:
  struct output_pipe {
    wire::output_stream stream = wire::output_stream::out;
    bool open = false;
    /// What was in the pipe when the command ended and has not been read yet.
    std::uint64_t must_read = 0;
    /// The beginning of a character.
    std::array<char, 4> carry{};
    std::size_t carried = 0;
    int fd = -1;
  };

  struct start_state;

  // run.cpp
  void start_has_ended(process_start::outcome how);
  void give_up_start(int error);
  void settle(start_state& state);
  void open_output(std::size_t index, unique_fd end);
  void watch_process(spawned&& process);
  void leader_has_ended(process_end how);
  void maybe_end();
  // run_output.cpp
  boost::asio::awaitable<void> pump(std::size_t index);
  void take_output(output_pipe& from, std::size_t read);
  [[nodiscard]] bool has_room() const;
  /// From here on output is read and dropped.
  [[nodiscard]] bool nobody_asks() const { return forgotten_ && !log_.has_reader(); }
  boost::asio::awaitable<void> make_room();
  boost::asio::awaitable<void> spill(std::shared_ptr<output_log::disk_job> job);
  boost::asio::awaitable<void> spill_the_rest();
  // run_tree.cpp
  boost::asio::awaitable<void> watch_helper(unique_fd reports);
  boost::asio::awaitable<void> sweep();
  boost::asio::awaitable<void> judge(sweep_result const& result);
  [[nodiscard]] std::optional<process_info> look_at_leader() const;
  [[nodiscard]] sweep_target target() const;
  void caller_has_gone();

  exec_core& core_;
  run_account account_;
  wire::exec_request request_;
  bool foreground_;
  bool input_stream_;
  std::string id_;
  std::string op_;
  std::string marker_;
  pid_t pid_ = -1;
  pid_t helper_ = 0;
  bool helper_gone_ = false;
  /// The helper saw the last descendant go.
  bool tree_gone_ = false;
  /// Nothing more comes from the helper.
  bool reports_ended_ = false;
  std::uint64_t started_ticks_ = 0;
  clock::time_point started_ = {};
  std::int64_t started_at_ms_ = 0;
  std::optional<activity::guard> active_;
  std::shared_ptr<stdin_pipe> input_;
  output_log log_;
  std::array<output_pipe, 2> pipes_;
  int open_pipes_ = 0;
  int spills_under_way_ = 0;
  wake_list changed_;
  wake_list room_;
  boost::asio::steady_timer timeout_;
  boost::asio::steady_timer drain_;
  boost::asio::steady_timer linger_;
  std::optional<process_end> leader_end_;
  clock::time_point leader_end_at_ = {};
  std::optional<wire::exit_event> exit_;
  bool drain_over_ = false;
  bool timed_out_ = false;
  bool sweeping_ = false;
  bool sweep_again_ = false;
  bool forgotten_ = false;
  bool exit_delivered_ = false;
  std::size_t survivors_ = 0;
  std::size_t unattributed_ = 0;
  std::function<void(run&)> on_ended_;
  std::unique_ptr<start_state> start_;
  std::optional<http_error> start_failure_;
};

/// To be called before any command runs: one could replace /dev/null.
void open_null_input();

}  // namespace hf::agent

#endif
