#ifndef HF_SANDBOX_AGENT_SPAWN_HPP
#define HF_SANDBOX_AGENT_SPAWN_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/agent/run_start.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/detail/retry_pauses.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// A background process that was just started.
struct spawned {
  run_handle handle;
  std::int64_t pid = 0;
};

/// Sends a request that starts a background process, again and again until there is an answer or
/// the reconnect budget is used up; never when that could start a second one.
template <transport Transport>
http::response send_spawn(agent_client<Transport>& agent, http::request rq, run_handle& handle,
                          spawn_options const& options, std::string const& label) {
  using clock = std::chrono::steady_clock;
  resend_guard guard(agent.instance());
  retry_pauses pauses(std::chrono::milliseconds(50), std::chrono::milliseconds(2000),
                      options.deadline, options.stop);
  std::optional<clock::time_point> failing_since;
  for (;;) {
    guard.address(rq);
    try {
      return agent.call("spawn", rq, 1u << 20);
    } catch (error const& failure) {
      guard.failed(failure);
      handle.agent_instance = guard.instance();
      // Once a request may have arrived, the handle is what finds the process again.
      auto const give_up = [&](errc code) {
        if (!guard.may_have_arrived())
          throw failure;
        auto details = failure.details();
        details.may_have_reached_peer = true;
        throw run_interrupted(code,
                              "spawn '" + label + "' may have taken effect: " + failure.what(),
                              handle, {}, {}, std::move(details));
      };
      if (!failing_since && agent.is_end_of_machine(failure))
        throw sandbox_ended_error(failure.details());
      if (!may_pass(failure))
        give_up(failure.kind());
      if (!guard.allows())
        give_up(errc::outcome_unknown);
      if (!failing_since)
        failing_since = clock::now();
      if (clock::now() - *failing_since >= patience_with(failure, options.reconnect_budget))
        give_up(errc::connection_lost);
      if (!pauses.wait(failure))
        give_up(errc::request_timed_out);
    }
  }
}

/// Starts a background process. After a broken connection the request is repeated only when the
/// agent recognises it by its operation id; else that is `errc::outcome_unknown`.
template <transport Transport, class Json = wire::json>
spawned spawn(agent_client<Transport>& agent, command const& what, spawn_options const& options) {
  validate_command(what, options);
  if (options.stop.stop_requested())
    throw error(errc::cancelled, "spawn: cancelled before it began");
  spawned started;
  started.handle.operation_id =
      options.operation_id.empty() ? random_hex(16) : options.operation_id;
  auto wanted = make_exec_request(what, options, started.handle.operation_id);
  prepare_run(agent, options, wanted);
  if (wanted.input_stream && !options.open_input)
    throw error(errc::invalid_argument,
                "spawn: input above 1 MiB has to be sent with open_input and write_input");

  call_options call;
  call.stall_timeout = options.stall_timeout;
  call.deadline = options.deadline;
  call.stop = options.stop;
  auto rq = agent.make_request("POST", std::string(wire::processes_route), call);
  rq.fields.set("Content-Type", "application/json");
  rq.body = exec_body<Json>("spawn", wanted);
  http::response answer;
  try {
    answer = send_spawn(agent, std::move(rq), started.handle, options, what.display());
  } catch (error const& e) {
    if (e.kind() != errc::exec_failed)
      throw;
    throw explain_start_failure(e, what, options.cwd);
  }
  auto const entry = wire::process_entry_from_json(parse_json<Json>(answer.body));
  if (!entry.id.empty() && !wire::is_process_id(entry.id))
    throw error(errc::protocol_error, "spawn: the agent gave the process an id that is none",
                {.where = hop::agent, .may_have_reached_peer = true});
  started.handle.process_id = entry.id;
  started.pid = entry.pid;
  // Agents of version 0.5 know a process by its pid only.
  if (started.handle.process_id.empty())
    started.handle.process_id = std::to_string(started.pid);
  started.handle.agent_instance = std::string(answer.fields.get(wire::instance_header));
  return started;
}

/// The background processes of an agent.
template <transport Transport, class Json = wire::json>
std::vector<wire::process_entry> list_processes(agent_client<Transport>& agent,
                                                call_options const& options) {
  auto const rq = agent.make_request("GET", std::string(wire::processes_route), options);
  auto const answer = agent.call_idempotent("list processes", rq);
  auto const j = parse_json<Json>(answer.body);
  if (!j.is_array())
    throw error(errc::protocol_error, "list processes: the agent's answer is not understood",
                {.where = hop::agent});
  std::vector<wire::process_entry> entries;
  for (auto const& entry : j)
    entries.push_back(wire::process_entry_from_json(entry));
  return entries;
}

}  // namespace hf::detail

#endif
