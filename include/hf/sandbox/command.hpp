#ifndef HF_SANDBOX_COMMAND_HPP
#define HF_SANDBOX_COMMAND_HPP

#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/body.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf {

/// What to run: an argument vector, or a script for `/bin/sh -c` made by `hf::shell`.
class command {
 public:
  /// An argument vector; the first item is looked up in the machine's PATH.
  template <class = void>
  command(std::initializer_list<std::string> argv) : argv_(argv) {}
  /// An argument vector.
  template <class = void>
  command(std::vector<std::string> argv) : argv_(std::move(argv)) {}

  /// The argument vector, or null for a script.
  [[nodiscard]] std::vector<std::string> const* argv() const noexcept {
    return is_script_ ? nullptr : &argv_;
  }
  /// The script, or null for an argument vector.
  [[nodiscard]] std::string const* script() const noexcept {
    return is_script_ ? &script_ : nullptr;
  }
  /// The command for people, shortened to 200 bytes.
  template <class = void>
  [[nodiscard]] std::string display() const {
    std::string text = script_;
    for (auto const& item : argv_) {
      if (text.size() > 200)
        break;
      if (!text.empty())
        text += ' ';
      text += item;
    }
    if (text.size() > 200)
      text = text.substr(0, 197) + "...";
    return text;
  }

  friend command shell(std::string script);

 private:
  struct script_tag {};
  command(script_tag, std::string script) : script_(std::move(script)), is_script_(true) {}

  // Not a variant: its copies and moves cost every program that includes this 3 MB of compiler.
  std::vector<std::string> argv_ = {};
  std::string script_ = {};
  bool is_script_ = false;
};

/// A script that `/bin/sh -c` runs in the machine: `sb.exec(hf::shell("ls | wc -l"))`.
[[nodiscard]] inline command shell(std::string script) {
  return command(command::script_tag{}, std::move(script));
}

/// What a run's standard input gets: nothing, bytes, or a reader of any size.
using run_input = http::body;

/// What happens when more output is captured than `capture_limit` allows.
enum class capture_overflow {
  /// The rest is not captured (callbacks still get it); `run_result::truncated` says so.
  truncate,
  /// The command's tree is killed and `errc::output_limit` is thrown.
  fail,
};

/// What a stop request does to a running command.
enum class on_stop {
  /// Kills the command and all its descendants; the result has what there was and `cancelled`. When
  /// the agent cannot be told (it is out of reach, or knows no operation ids), `errc::cancelled` is
  /// thrown as with `abandon`.
  kill,
  /// Leaves it running: `errc::cancelled` is thrown, as `run_interrupted` with what `resume` needs.
  abandon,
};

/// How `exec` runs a command. Every field has a default.
struct exec_options {
  /// Working directory; empty: the sandbox's own (its home, or the image's).
  std::string cwd = {};
  /// Environment variables over those of the machine.
  std::map<std::string, std::string> env = {};
  /// Standard input; nothing: /dev/null. Above 1 MiB it is streamed while the command runs.
  run_input input = {};
  /// Kills the command and all its descendants after this time (`run_result::timed_out`).
  std::optional<std::chrono::milliseconds> timeout = {};
  /// Gets standard output as it arrives, on the calling thread; a slow callback slows the command.
  /// What it throws kills the command and leaves `exec` unchanged.
  std::function<void(std::string_view)> on_stdout = {};
  /// The same for standard error.
  std::function<void(std::string_view)> on_stderr = {};
  /// Keeps output in `run_result::out` and `run_result::err`. Nothing: keeps a stream that has no
  /// callback; true: both; false: neither.
  std::optional<bool> capture = {};
  /// Bytes of output captured at most, both streams together.
  std::uint64_t capture_limit = 64u << 20;
  /// What happens beyond that.
  capture_overflow overflow = capture_overflow::truncate;
  /// Sends standard error into standard output, in the true order. Needs our agent.
  bool merge_stderr = false;
  /// User name, uid or "uid:gid" to run as; empty: the agent's. Needs our agent.
  std::string user = {};
  /// Features that the agent must have, by their names in `info()`; else `errc::unsupported`.
  std::vector<std::string> require = {};
  /// Cancels from another thread; see `when_stopped`.
  stop_token stop = {};
  /// What a stop request does.
  on_stop when_stopped = on_stop::kill;
  /// Point in time after which the call gives up waiting (`errc::request_timed_out`, as
  /// `run_interrupted`); the command is not killed by it.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Longest silence on the event stream, on which the agent pings every 15 s; then the connection
  /// counts as dead and is made anew. The same bound as the official client's.
  std::chrono::milliseconds stall_timeout{70'000};
  /// How long a broken connection is tried again before `errc::connection_lost`; starts anew after
  /// each successful re-attachment.
  std::chrono::milliseconds reconnect_budget{60'000};
  /// How long the machine keeps the command running without its caller; 0 s: killed at once.
  std::chrono::seconds linger{60};
  /// Operation id, 32 hexadecimal digits; empty: a random one. The same id with the same command
  /// never runs twice.
  std::string operation_id = {};
};

/// How `spawn` starts a background process. Its output is had by `basic_process::follow` and
/// `output`.
struct spawn_options {
  /// Working directory; empty: the sandbox's own (its home, or the image's).
  std::string cwd = {};
  /// Environment variables over those of the machine.
  std::map<std::string, std::string> env = {};
  /// Standard input, up to 1 MiB; nothing: /dev/null.
  run_input input = {};
  /// Leaves standard input open for `basic_process::write_input`, in place of `input`. Needs our
  /// agent.
  bool open_input = false;
  /// Kills the process and all its descendants after this time (`process_status::timed_out`).
  std::optional<std::chrono::milliseconds> timeout = {};
  /// A name for `processes()`.
  std::string tag = {};
  /// Sends standard error into standard output, in the true order. Needs our agent.
  bool merge_stderr = false;
  /// User name, uid or "uid:gid" to run as; empty: the agent's. Needs our agent.
  std::string user = {};
  /// Features that the agent must have, by their names in `info()`; else `errc::unsupported`.
  std::vector<std::string> require = {};
  /// Cancels the call (`errc::cancelled`), not the process.
  stop_token stop = {};
  /// Point in time by which the call, retries included, has to be over.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Longest silence of the request; 0: the transport's default (60 s).
  std::chrono::milliseconds stall_timeout{0};
  /// How long a request that did not get through is tried again before `errc::connection_lost`.
  std::chrono::milliseconds reconnect_budget{60'000};
  /// Operation id, 32 hexadecimal digits; empty: a random one. The same id with the same command
  /// never runs twice.
  std::string operation_id = {};
};

/// How `basic_process::follow` and `basic_sandbox::resume` follow a run. Neither kills it unless
/// `when_stopped` asks for that.
struct follow_options {
  /// Gets standard output as it arrives, on the calling thread. What it throws ends the call and
  /// leaves it unchanged; the run goes on unless `when_stopped` is `on_stop::kill`.
  std::function<void(std::string_view)> on_stdout = {};
  /// The same for standard error.
  std::function<void(std::string_view)> on_stderr = {};
  /// Keeps output in `run_result::out` and `run_result::err`. Nothing: keeps a stream that has no
  /// callback; true: both; false: neither.
  std::optional<bool> capture = {};
  /// Bytes of output captured at most, both streams together; beyond, `run_result::truncated`.
  std::uint64_t capture_limit = 64u << 20;
  /// Cancels from another thread; see `when_stopped`.
  stop_token stop = {};
  /// What a stop request, or an exception of a callback, does to the run.
  on_stop when_stopped = on_stop::abandon;
  /// Point in time after which the call gives up waiting (`errc::request_timed_out`, as
  /// `run_interrupted`); the run goes on.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Longest silence on the event stream, as in `exec_options`.
  std::chrono::milliseconds stall_timeout{70'000};
  /// How long a broken connection is tried again, as in `exec_options`.
  std::chrono::milliseconds reconnect_budget{60'000};
};

class command_error;

/// How a command ended and what it wrote. There is no result without the agent's word that the
/// command has ended.
struct run_result {
  /// Exit code; -1 when a signal ended the command.
  int exit_code = -1;
  /// The signal that ended the command; 0: none.
  int signal = 0;
  /// Standard output, as exact bytes unless `lossy`.
  std::string out = {};
  /// Standard error.
  std::string err = {};
  /// The command's own timeout ran out and its tree was killed.
  bool timed_out = false;
  /// A stop request killed the command.
  bool cancelled = false;
  /// The output contains U+FFFD where the agent may have replaced bytes (common protocol only).
  bool lossy = false;
  /// Output beyond `capture_limit` was not captured.
  bool truncated = false;
  /// A descendant still held a pipe open when the command had ended.
  bool output_open = false;
  /// Processes that may belong to the command, are alive, and could not be attributed.
  std::int64_t unattributed = 0;
  /// Bytes of output that the agent had to drop.
  std::uint64_t dropped_bytes = 0;
  /// Number of the last record of output that was taken: what `basic_process::output` and `follow`
  /// go on behind. 0 for agents without operation ids.
  std::uint64_t last_seq = 0;
  /// The command's running time, measured by the agent.
  std::chrono::milliseconds duration{0};
  /// The command, for error messages.
  std::string command_line = {};

  /// Exit code 0, not killed, not timed out.
  [[nodiscard]] bool ok() const noexcept {
    return exit_code == 0 && signal == 0 && !timed_out && !cancelled;
  }
  /// Throws `command_error` (`command_failed`, `command_timed_out`, `cancelled`) unless `ok()`.
  template <class Error = command_error>
  run_result const& check() const;
};

/// A command that did not end well, with its result.
class command_error : public error {
 public:
  /// `code` is `command_failed`, `command_timed_out`, `output_limit` or `cancelled`.
  template <std::same_as<run_result> Result>
  command_error(errc code, std::string message, Result result)
      : error(code, std::move(message), {.where = hop::agent, .may_have_reached_peer = true}),
        result_(std::make_shared<Result const>(std::move(result))) {}
  /// What there was.
  [[nodiscard]] run_result const& result() const noexcept { return *result_; }

 private:
  std::shared_ptr<run_result const> result_;
};

template <class Error>
run_result const& run_result::check() const {
  if (ok())
    return *this;
  std::string how = "exit code " + std::to_string(exit_code);
  errc code = errc::command_failed;
  if (timed_out) {
    code = errc::command_timed_out;
    how = "killed by its timeout";
  } else if (cancelled) {
    code = errc::cancelled;
    how = "cancelled";
  } else if (signal != 0) {
    how = "signal " + std::to_string(signal);
  }
  std::string message = "command '" + command_line + "' failed: " + how;
  if (!err.empty()) {
    auto const from = err.size() > 1000 ? err.size() - 1000 : 0;
    message += "\n" + err.substr(from);
  }
  throw Error(code, std::move(message), *this);
}

/// What is needed to find a run again, also from another process.
struct run_handle {
  /// The operation id the run was started with; empty for agents without them.
  std::string operation_id = {};
  /// The agent's id of the run ("p-3"); empty while it is not known.
  std::string process_id = {};
  /// The agent that runs it; another one (after a restart) does not know the run.
  std::string agent_instance = {};
  /// Number of the last record that was delivered; in an `errc::output_gone` of the last one that
  /// is no longer kept.
  std::uint64_t last_seq = 0;
};

/// The connection to a running command was given up; the command may go on. Holds what `resume`
/// needs to go on, and what was captured so far.
class run_interrupted : public error {
 public:
  /// With the handle to go on with and the output so far.
  template <std::same_as<run_handle> Handle>
  run_interrupted(errc code, std::string message, Handle handle, std::string out, std::string err,
                  error_details details = {})
      : error(code, std::move(message), std::move(details)),
        extra_(std::make_shared<extra<Handle> const>(
            extra<Handle>{std::move(handle), std::move(out), std::move(err)})) {}
  /// What `resume` takes.
  [[nodiscard]] run_handle const& handle() const noexcept { return extra_->handle; }
  /// Standard output captured so far.
  [[nodiscard]] std::string const& out() const noexcept { return extra_->out; }
  /// Standard error captured so far.
  [[nodiscard]] std::string const& err() const noexcept { return extra_->err; }

 private:
  template <class Handle>
  struct extra {
    Handle handle;
    std::string out;
    std::string err;
  };
  std::shared_ptr<extra<run_handle> const> extra_;
};

}  // namespace hf

#endif
