#ifndef HF_SANDBOX_AGENT_RUN_STATE_HPP
#define HF_SANDBOX_AGENT_RUN_STATE_HPP

#include <hf/sandbox/command.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/processes.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <variant>

namespace hf::detail {

/// What following a run needs of the caller's options.
struct run_terms : follow_options {
  /// What a full capture means.
  capture_overflow overflow = capture_overflow::truncate;
  /// An exception on the caller's side kills the run.
  bool kill_when_thrown = false;
};

inline run_terms terms_of(follow_options const& options) {
  run_terms terms{options};
  terms.kill_when_thrown = options.when_stopped == on_stop::kill;
  return terms;
}
inline run_terms terms_of(exec_options const& options) {
  run_terms terms;
  terms.on_stdout = options.on_stdout;
  terms.on_stderr = options.on_stderr;
  terms.capture = options.capture;
  terms.capture_limit = options.capture_limit;
  terms.stop = options.stop;
  terms.when_stopped = options.when_stopped;
  terms.deadline = options.deadline;
  terms.stall_timeout = options.stall_timeout;
  terms.reconnect_budget = options.reconnect_budget;
  terms.overflow = options.overflow;
  terms.kill_when_thrown = true;
  return terms;
}

/// What is known of one run on the caller's side: takes events, drops what was seen before, feeds
/// the callbacks and the capture. A record that is missing is `errc::protocol_error`. No I/O; used
/// by one thread.
template <class = void>
class run_state {
 public:
  explicit run_state(run_terms options, run_handle handle, std::string command_line)
      : options_(std::move(options)), handle_(std::move(handle)) {
    result_.last_seq = handle_.last_seq;
    result_.command_line = std::move(command_line);
  }

  /// Takes the next event; false when the stream has to be given up (a callback threw, or the
  /// capture is full).
  template <std::same_as<wire::event> Event>
  bool take(Event&& event) {
    if (auto* start = std::get_if<wire::start_event>(&event)) {
      if (!start->id.empty() && !wire::is_process_id(start->id))
        throw error(errc::protocol_error, "the agent gave the command an id that is none",
                    {.where = hop::agent, .may_have_reached_peer = true});
      started_ = true;
      pid_ = start->pid;
      if (!start->id.empty())
        handle_.process_id = std::move(start->id);
      return true;
    }
    if (auto* output = std::get_if<wire::output_event>(&event))
      return take_output(*output);
    if (auto* exit = std::get_if<wire::exit_event>(&event))
      take_exit(*exit);
    return true;
  }

  /// Grows with everything new that is learnt of the run.
  [[nodiscard]] std::uint64_t progress() const noexcept {
    return handle_.last_seq + unnumbered_ + (started_ ? 1 : 0) + (finished_ ? 1 : 0);
  }
  [[nodiscard]] bool started() const noexcept { return started_; }
  /// The command's process id in the machine; 0 while it is not known.
  [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
  [[nodiscard]] bool finished() const noexcept { return finished_; }
  /// The command has ended, and the agent does not know how.
  [[nodiscard]] bool end_unknown() const noexcept { return end_unknown_; }
  /// The capture is full and the caller wants that to be an error.
  [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }
  /// What a callback threw.
  [[nodiscard]] std::exception_ptr const& thrown() const noexcept { return thrown_; }
  /// Whether the run can be attached to again: it has an id.
  [[nodiscard]] bool resumable() const noexcept { return !handle_.process_id.empty(); }

  [[nodiscard]] run_handle& handle() noexcept { return handle_; }
  [[nodiscard]] run_result& result() noexcept { return result_; }
  [[nodiscard]] run_terms const& options() const noexcept { return options_; }

  /// From here on callbacks are not called (the run is being killed because one threw).
  void mute() noexcept { muted_ = true; }

  /// The error for a run whose connection was given up.
  [[nodiscard]] run_interrupted interrupted(errc code, std::string const& why,
                                            error_details details = {}) {
    details.may_have_reached_peer = true;
    details.retry = resumable() && code != errc::sandbox_expired
                        ? retry_advice::only_with_same_operation_id
                        : retry_advice::no;
    return run_interrupted(code, "command '" + result_.command_line + "': " + why, handle_,
                           result_.out, result_.err, std::move(details));
  }

 private:
  bool take_output(wire::output_event& output) {
    started_ = true;
    if (output.seq != 0) {
      if (output.seq <= handle_.last_seq)
        return true;
      move_on_to(output.seq);
    } else if (++unnumbered_;
               !result_.lossy && output.data.find("\xEF\xBF\xBD") != std::string::npos) {
      result_.lossy = true;
    }
    bool const is_out = output.stream == wire::output_stream::out;
    auto const& callback = is_out ? options_.on_stdout : options_.on_stderr;
    if (!muted_) {
      if (callback) {
        try {
          callback(output.data);
        } catch (...) {
          thrown_ = std::current_exception();
          return false;
        }
      }
    }
    return !options_.capture.value_or(!callback) || capture(is_out ? result_.out : result_.err, output.data);
  }

  void move_on_to(std::uint64_t seq) {
    if (seq != handle_.last_seq + 1)
      throw error(errc::protocol_error,
                  "records are missing behind number " + std::to_string(handle_.last_seq),
                  {.where = hop::agent, .may_have_reached_peer = true});
    handle_.last_seq = result_.last_seq = seq;
  }

  bool capture(std::string& into, std::string const& data) {
    auto const used = result_.out.size() + result_.err.size();
    auto const room = options_.capture_limit > used ? options_.capture_limit - used : 0;
    if (data.size() <= room) {
      into += data;
      return true;
    }
    into.append(data, 0, static_cast<std::size_t>(room));
    result_.truncated = true;
    if (options_.overflow == capture_overflow::truncate || muted_)
      return true;
    overflowed_ = true;
    return false;
  }

  void take_exit(wire::exit_event const& exit) {
    if (exit.seq > handle_.last_seq)
      move_on_to(exit.seq);
    finished_ = true;
    end_unknown_ = !exit.is_known();
    result_.exit_code = exit.exit_code.value_or(-1);
    result_.signal = exit.signal.value_or(0);
    result_.timed_out = exit.timed_out;
    result_.output_open = exit.output_open;
    result_.unattributed = exit.unattributed;
    result_.dropped_bytes = exit.dropped_bytes;
    result_.duration = std::chrono::milliseconds(exit.duration_ms);
  }

  run_terms options_;
  run_handle handle_;
  run_result result_;
  std::int64_t pid_ = 0;
  /// Records without a number, from agents of the common protocol.
  std::uint64_t unnumbered_ = 0;
  bool started_ = false;
  bool finished_ = false;
  bool end_unknown_ = false;
  bool overflowed_ = false;
  bool muted_ = false;
  std::exception_ptr thrown_;
};

}  // namespace hf::detail

#endif
