#ifndef HF_SANDBOX_PROCESS_HPP
#define HF_SANDBOX_PROCESS_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace hf {

/// A background process as the agent lists it.
using process_info = wire::process_entry;

/// How a background process stands.
struct process_status {
  /// Still running; the rest is then empty.
  bool running = true;
  /// Exit code; -1 when a signal ended it, or when the agent does not tell.
  int exit_code = -1;
  /// The signal that ended it; 0: none, or the agent does not tell.
  int signal = 0;
  /// Its own timeout ran out.
  bool timed_out = false;
};

/// Whom a signal reaches.
enum class signal_scope { process, group, tree };

/// A process in a sandbox that runs on its own. The handle does not own it: it goes on when the
/// handle dies and ends with its sandbox at the latest.
///
/// Copies refer to the same process. Members may be called from several threads at once; all of
/// them block for a round trip, those that wait for as long as that takes.
template <transport Transport>
class basic_process {
 public:
  /// The agent that it talks to.
  using agent_type = agent_client<Transport>;

  /// A handle for the process behind `handle.process_id`; made by `spawn` and `attach`.
  basic_process(std::shared_ptr<agent_type> agent, std::function<bool()> machine_ended,
                run_handle handle, std::int64_t pid)
      : agent_(std::move(agent)),
        machine_ended_(std::move(machine_ended)),
        handle_(std::move(handle)),
        pid_(pid) {}

  /// The agent's id for it ("p-3").
  [[nodiscard]] std::string const& id() const noexcept { return handle_.process_id; }
  /// Its process id inside the machine; 0 when the handle was made by `attach`.
  [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
  /// What `resume` takes, and with its `process_id` `attach`, also in another program.
  [[nodiscard]] run_handle const& handle() const noexcept { return handle_; }

  /// How it stands now. `errc::not_found` when the agent has forgotten it.
  [[nodiscard]] process_status status(call_options const& options = {}) {
    return look(std::chrono::milliseconds(0), options);
  }

  /// Waits until it has ended. A stop request (`errc::cancelled`) or a passed deadline
  /// (`errc::request_timed_out`) ends the waiting, not the process.
  process_status wait(call_options const& options = {}) {
    for (;;) {
      auto const status = look(std::chrono::milliseconds(30'000), options);
      if (!status.running)
        return status;
      if (options.deadline && std::chrono::steady_clock::now() >= *options.deadline)
        throw error(errc::request_timed_out, "process " + id() + " still runs at the deadline");
    }
  }

  /// Waits for at most `time`; nothing when it still runs then.
  std::optional<process_status> wait_for(std::chrono::milliseconds time, stop_token stop = {}) {
    auto const until = std::chrono::steady_clock::now() + time;
    for (;;) {
      auto const left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      call_options options;
      options.stop = stop;
      auto const status =
          look((std::clamp)(left, std::chrono::milliseconds(0), std::chrono::milliseconds(30'000)),
               options);
      if (!status.running)
        return status;
      if (std::chrono::steady_clock::now() >= until)
        return std::nullopt;
    }
  }

  /// Kills it with all its descendants and makes the agent forget it. False when it had ended.
  bool kill(call_options const& options = {}) {
    auto const rq = agent_->make_request("DELETE", route(), options);
    auto const answer = agent_->call_idempotent("kill " + id(), rq, 1u << 20);
    auto const j = wire::json::parse(answer.body, nullptr, false);
    return j.is_object() && wire::detail::event_flag(j, "killed");
  }

  /// Sends a signal. Needs our agent (`errc::unsupported`).
  void signal(int number, signal_scope scope = signal_scope::process,
              call_options const& options = {}) {
    agent_->require("signal", options);
    auto rq = agent_->make_request("POST", route("/signal"), options);
    rq.fields.set("Content-Type", "application/json");
    char const* const name = scope == signal_scope::process ? "process"
                             : scope == signal_scope::group ? "group"
                                                            : "tree";
    rq.body = wire::signal_request_to_json({.signal = number, .scope = name}).dump();
    agent_->call_once("signal " + id(), rq, 1u << 20);
  }

  /// Follows the output from the record behind `after` until the process has ended, calling
  /// `on_stdout` and `on_stderr`. Reconnects by itself as `exec` does. Needs our agent. What is no
  /// longer kept is `errc::output_gone`.
  run_result follow(exec_options const& options = {}, std::uint64_t after = 0) {
    call_options call;
    call.stop = options.stop;
    agent_->require("events", call);
    auto handle = handle_;
    handle.last_seq = after;
    exec_options following = options;
    following.when_stopped = on_stop::abandon;
    return detail::attach(*agent_, std::move(handle), following, machine_ended_);
  }

  /// Everything written so far that the agent still keeps, without waiting. Needs our agent.
  run_result output(std::uint64_t after = 0, call_options const& options = {}) {
    agent_->require("events", options);
    exec_options following;
    following.capture_limit = ~std::uint64_t{0};
    auto handle = handle_;
    handle.last_seq = after;
    detail::run_state state(following, std::move(handle), id());
    auto const rq =
        agent_->make_request("GET", route("/events?after=" + std::to_string(after)), options);
    detail::event_stream decoder;
    http::stream_sink sink([&](std::span<std::byte const> data) {
      decoder.feed(data, [&](wire::event&& event) { return state.take(std::move(event)); });
      return http::flow::more;
    });
    agent_->send(rq, sink);
    if (sink.answer().status >= 400)
      throw detail::agent_answer_error("read output of " + id(), sink.answer());
    return std::move(state.result());
  }

  /// Writes to the standard input of a process spawned with `exec_options::open_input`, at
  /// `offset` bytes from its beginning; the same bytes at the same offset may be sent again.
  /// Returns the offset that the next bytes have. `eof` closes the input behind them.
  std::uint64_t write_input(std::string_view bytes, std::uint64_t offset, bool eof = false,
                            call_options const& options = {}) {
    agent_->require(detail::feature_stdin_stream, options);
    auto rq = agent_->make_request(
        "POST", route("/stdin?offset=" + std::to_string(offset) + (eof ? "&eof=1" : "")), options);
    rq.fields.set("Content-Type", "application/octet-stream");
    rq.body = std::string(bytes);
    auto const answer = agent_->call_idempotent("write input of " + id(), rq, 1u << 20);
    return wire::accepted_input(answer.body).value_or(offset + bytes.size());
  }

 private:
  [[nodiscard]] std::string route(std::string const& below = {}) const {
    return std::string(wire::processes_route) + "/" + id() + below;
  }

  /// Asks how it stands, waiting at most `time` for its end.
  process_status look(std::chrono::milliseconds time, call_options const& options) {
    if (agent_->features(options).has("wait")) {
      auto const rq = agent_->make_request(
          "GET", route("/wait?timeout=" + std::to_string(static_cast<double>(time.count()) / 1000)),
          options);
      auto const answer = agent_->call_idempotent("wait for " + id(), rq, 1u << 20);
      auto const run = wire::run_status_from_json(wire::json::parse(answer.body, nullptr, false));
      return run.exit ? ended(*run.exit) : process_status{};
    }
    return poll(time, options);
  }

  static process_status ended(wire::exit_event const& exit) {
    return {.running = false,
            .exit_code = exit.exit_code.value_or(-1),
            .signal = exit.signal.value_or(0),
            .timed_out = exit.timed_out};
  }

  /// Agents of the common protocol know only the list.
  process_status poll(std::chrono::milliseconds time, call_options const& options) {
    auto const until = std::chrono::steady_clock::now() + time;
    for (;;) {
      bool found = false;
      process_status status;
      for (auto const& entry : detail::list_processes(*agent_, options))
        if (entry.id == id()) {
          found = true;
          status.running = entry.running;
          status.exit_code = entry.exit_code.value_or(-1);
        }
      if (!found)
        throw error(errc::not_found, "the agent does not know process " + id(),
                    {.where = hop::agent});
      if (!status.running || std::chrono::steady_clock::now() >= until)
        return status;
      if (!detail::sleep_for(std::chrono::milliseconds(250), options.stop))
        throw error(errc::cancelled, "waiting for " + id() + " was cancelled");
    }
  }

  std::shared_ptr<agent_type> agent_;
  std::function<bool()> machine_ended_;
  run_handle handle_;
  std::int64_t pid_;
};

}  // namespace hf

#endif
