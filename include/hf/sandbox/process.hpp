#ifndef HF_SANDBOX_PROCESS_HPP
#define HF_SANDBOX_PROCESS_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/spawn.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/backoff.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/sleep.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
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
  /// (`errc::request_timed_out`) ends the waiting, not the process. `errc::outcome_unknown` when
  /// the agent does not know how it ended.
  process_status wait(call_options const& options = {}) {
    auto turn = longest_turn;
    if (options.stall_timeout.count() > 0)
      turn = (std::min)(turn, options.stall_timeout / 2);
    detail::backoff early(std::chrono::milliseconds(50), std::chrono::milliseconds(2000));
    for (;;) {
      auto const asked = std::chrono::steady_clock::now();
      auto const status = look(turn, options);
      if (!status.running)
        return status;
      // An agent that does not wait as it was asked to must not be asked without pause.
      if (std::chrono::steady_clock::now() - asked < turn / 2 &&
          !detail::sleep_for(early.next(), options.stop))
        throw error(errc::cancelled, "waiting for " + id() + " was cancelled");
      if (options.deadline && std::chrono::steady_clock::now() >= *options.deadline)
        throw error(errc::request_timed_out, "process " + id() + " still runs at the deadline");
    }
  }

  /// Waits for at most `time`; nothing when it still runs then. `errc::request_timed_out` when the
  /// agent has not said so 5 s later.
  template <std::same_as<process_status> Status = process_status>
  std::optional<Status> wait_for(std::chrono::milliseconds time, stop_token stop = {}) {
    auto const until = std::chrono::steady_clock::now() + time;
    for (;;) {
      auto const left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      call_options options;
      options.stop = stop;
      options.deadline = until + std::chrono::seconds(5);
      auto const status =
          look((std::clamp)(left, std::chrono::milliseconds(0), longest_turn), options);
      if (!status.running)
        return status;
      if (std::chrono::steady_clock::now() >= until)
        return std::nullopt;
    }
  }

  /// Kills it with all its descendants (its process group, where the agent is not ours) and makes
  /// the agent forget it. False when it had ended, be it by an attempt of this call whose answer
  /// was lost.
  bool kill(call_options const& options = {}) {
    auto const rq = request("DELETE", {}, options);
    auto const answer = agent_->call_idempotent("kill " + id(), rq, 1u << 20);
    return says_killed(answer.body);
  }

  /// Sends a signal. Needs our agent (`errc::unsupported`).
  void signal(int number, signal_scope scope = signal_scope::process,
              call_options const& options = {}) {
    agent_->require("signal", options);
    auto rq = request("POST", "/signal", options);
    rq.fields.set("Content-Type", "application/json");
    char const* const name = scope == signal_scope::process ? "process"
                             : scope == signal_scope::group ? "group"
                                                            : "tree";
    rq.body = wire::signal_request_to_json({.signal = number, .scope = name}).dump();
    agent_->call_once("signal " + id(), rq, 1u << 20);
  }

  /// Follows the output from the record behind `after` until the process has ended, calling
  /// `on_stdout` and `on_stderr`. Reconnects by itself as `exec` does. Needs our agent. What is no
  /// longer kept is `errc::output_gone`, as `run_interrupted`: its `handle().last_seq` is the
  /// `after` that goes on where output is kept. The process is left alone: a full capture truncates,
  /// and a stop request or a callback's exception ends the following only, unless
  /// `when_stopped` asks for more.
  run_result follow(follow_options const& options = {}, std::uint64_t after = 0) {
    call_options call;
    call.stop = options.stop;
    call.deadline = options.deadline;
    agent_->require("events", call);
    auto handle = handle_;
    handle.last_seq = after;
    return detail::attach(*agent_, std::move(handle), options, machine_ended_);
  }

  /// Everything written so far behind the record `after` that the agent still keeps, without
  /// waiting. To poll, pass the last result's `last_seq`. `errc::output_gone` as with `follow`.
  /// Needs our agent.
  run_result output(std::uint64_t after = 0, call_options const& options = {}) {
    agent_->require("events", options);
    detail::run_terms following;
    following.capture_limit = ~std::uint64_t{0};
    auto handle = handle_;
    handle.last_seq = after;
    detail::run_state<> state(std::move(following), std::move(handle), id());
    auto const take = [&] {
      auto const rq =
          request("GET", "/events?after=" + std::to_string(state.handle().last_seq), options);
      detail::event_stream decoder;
      http::stream_sink sink([&](std::span<std::byte const> data) {
        decoder.feed(data, [&](auto&& event) { return state.take(std::move(event)); });
        return http::flow::more;
      });
      agent_->send(rq, sink);
      if (sink.answer().status == 410 &&
          sink.answer().fields.contains(wire::instance_header)) {
        detail::pass_over_gap(state.handle(), sink.answer().body);
        auto const gone = agent_->answer_error("read output of " + id(), sink.answer());
        throw state.interrupted(gone.kind(), gone.what(), gone.details());
      }
      if (sink.answer().status >= 300)
        throw agent_->answer_error("read output of " + id(), sink.answer());
    };
    agent_->retrying(request("GET", {}, options), true, take);
    return std::move(state.result());
  }

  /// Writes to the standard input of a process spawned with `spawn_options::open_input`, at
  /// `offset` bytes from its beginning; the same bytes at the same offset may be sent again.
  /// Returns the offset that the next bytes have. `eof` closes the input behind them.
  std::uint64_t write_input(std::string_view bytes, std::uint64_t offset, bool eof = false,
                            call_options const& options = {}) {
    agent_->require(detail::feature_stdin_stream, options);
    auto rq =
        request("POST", "/stdin?offset=" + std::to_string(offset) + (eof ? "&eof=1" : ""), options);
    rq.fields.set("Content-Type", "application/octet-stream");
    rq.body = std::string(bytes);
    auto const answer = agent_->call_idempotent("write input of " + id(), rq, 1u << 20);
    return wire::accepted_input(answer.body).value_or(offset + bytes.size());
  }

 private:
  /// Longest wait that one request asks for: shorter than any silence on the way may be.
  static constexpr std::chrono::milliseconds longest_turn{30'000};

  /// A request for what is below this process; only the agent that runs it takes it.
  [[nodiscard]] http::request request(std::string method, std::string const& below,
                                      call_options const& options) const {
    auto rq = agent_->make_request(
        std::move(method), std::string(wire::processes_route) + "/" + id() + below, options);
    detail::address_to(rq, handle_.agent_instance);
    return rq;
  }

  template <class Json = wire::json>
  [[nodiscard]] bool says_killed(std::string const& answer) const {
    auto const j = detail::parse_json<Json>(answer);
    if (!j.is_object())
      return false;
    // Agents of version 0.5 say only "ok", also to the process ids of the system, which they
    // ignore.
    if (!j.contains("killed"))
      return j.value("ok", Json(false)) == true && id().starts_with("p-");
    return j["killed"] == true;
  }

  /// Asks how it stands, waiting at most `time` for its end.
  process_status look(std::chrono::milliseconds time, call_options const& options) {
    if (agent_->features(options).has("wait")) {
      // Not as a floating point number: its text depends on the locale.
      auto const fraction = std::to_string(1000 + time.count() % 1000).substr(1);
      auto const rq = request(
          "GET", "/wait?timeout=" + std::to_string(time.count() / 1000) + "." + fraction, options);
      auto const answer = agent_->call_idempotent("wait for " + id(), rq, 1u << 20);
      auto const run = wire::run_status_from_json(detail::parse_json<wire::json>(answer.body));
      return run.exited ? ended(run.exit) : process_status{};
    }
    return poll(time, options);
  }

  [[nodiscard]] process_status ended(wire::exit_event const& exit) const {
    if (!exit.is_known())
      throw error(errc::outcome_unknown,
                  "process " + id() + " has ended, and the agent does not know how",
                  {.where = hop::agent, .may_have_reached_peer = true});
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
        // After a restart of the agent the id may be another process's.
        if (entry.id == id() && (pid_ == 0 || entry.pid == pid_)) {
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
