#ifndef HF_SANDBOX_AGENT_SPAWN_HPP
#define HF_SANDBOX_AGENT_SPAWN_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/exec.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/crypto.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// A background process that was just started.
struct spawned {
  run_handle handle;
  std::int64_t pid = 0;
};

/// Starts a background process. After a broken connection the request is repeated only when the
/// agent recognises it by its operation id; else that is `errc::outcome_unknown`.
template <transport Transport, class Json = wire::json>
spawned spawn(agent_client<Transport>& agent, command const& what, exec_options const& options) {
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
  wanted.linger.reset();

  call_options call;
  call.stop = options.stop;
  call.deadline = options.deadline;
  auto rq = agent.make_request("POST", std::string(wire::processes_route), call);
  rq.fields.set("Content-Type", "application/json");
  rq.body = wire::exec_request_to_json<Json>(wanted).dump();

  http::response answer;
  auto const known_instance = agent.instance();
  try {
    if (known_instance.empty()) {
      answer = agent.call_once("spawn", rq, 1u << 20);
    } else {
      rq.fields.set(std::string(wire::instance_header), known_instance);
      answer = agent.call_idempotent("spawn", rq, 1u << 20);
    }
  } catch (error const& e) {
    if (e.kind() != errc::exec_failed)
      throw;
    throw explain_start_failure(e, what, options);
  }
  auto const entry = wire::process_entry_from_json(Json::parse(answer.body, nullptr, false));
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
  auto const j = Json::parse(answer.body, nullptr, false);
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
