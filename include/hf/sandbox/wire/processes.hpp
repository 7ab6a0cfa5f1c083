#ifndef HF_SANDBOX_WIRE_PROCESSES_HPP
#define HF_SANDBOX_WIRE_PROCESSES_HPP

#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/exec.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hf::wire {

/// An entry of `GET /v1/processes`, and the answer of `POST /v1/processes` as far as it is filled.
struct process_entry {
  /// "p-N"; empty from agents that know no ids.
  std::string id = {};
  /// Process id inside the machine.
  std::int64_t pid = 0;
  /// As it was sent: a string or a list.
  json cmd = nullptr;
  /// The name that its starter gave it.
  std::optional<std::string> tag = {};
  /// Milliseconds since the epoch.
  std::int64_t started_at_ms = 0;
  /// Whether it has not ended.
  bool running = true;
  /// Exit code; nothing while it runs and when a signal ended it.
  std::optional<int> exit_code = {};
};

/// State of a run: answer of `GET /v1/processes/{id}/wait` and of `GET /v1/ops/{op}`.
struct run_status {
  /// "p-N".
  std::string id = {};
  /// Process id inside the machine.
  std::int64_t pid = 0;
  /// Whether the command has ended and `exit` is there.
  bool exited = false;
  /// Number of the first record that is still kept; 1 when nothing has been written.
  std::uint64_t first_seq = 1;
  /// Number of the last record written; 0 when nothing has been written.
  std::uint64_t last_seq = 0;
  /// How it ended, once `exited`.
  exit_event exit = {};
};

/// Body of `POST /v1/processes/{id}/signal`.
struct signal_request {
  /// Number of the signal.
  int signal = 15;
  /// "process", "group" or "tree".
  std::string scope = "process";
};

/// Whether this is what agents call a process: "p-3", or a process id of the machine ("42"). Ids
/// become part of URLs and of error texts.
[[nodiscard]] constexpr bool is_process_id(std::string_view id) noexcept {
  if (id.starts_with("p-"))
    id.remove_prefix(2);
  return !id.empty() && id.size() <= 20 &&
         id.find_first_not_of("0123456789") == std::string_view::npos;
}

/// An entry of the list.
template <class Json = json>
[[nodiscard]] Json process_entry_to_json(process_entry const& entry) {
  Json j = {{"id", entry.id},
            {"pid", entry.pid},
            {"cmd", entry.cmd},
            {"tag", nullptr},
            {"started_at_ms", entry.started_at_ms},
            {"running", entry.running},
            {"exit_code", nullptr}};
  if (entry.tag)
    j["tag"] = *entry.tag;
  if (entry.exit_code)
    j["exit_code"] = *entry.exit_code;
  return j;
}

/// Reads an entry leniently: agents differ in what they fill. `errc::protocol_error` when it is not
/// an object or has no pid.
template <class Json>
[[nodiscard]] process_entry process_entry_from_json(Json const& j) {
  if (!j.is_object() || !j.contains("pid"))
    throw error(errc::protocol_error, "the agent's process entry has no pid",
                {.where = hop::agent, .may_have_reached_peer = true});
  process_entry entry;
  entry.pid = detail::event_integer(j, "pid").value_or(0);
  if (auto const it = j.find("id"); it != j.end() && it->is_string())
    entry.id = it->template get<std::string>();
  if (auto const it = j.find("cmd"); it != j.end())
    entry.cmd = *it;
  if (auto const it = j.find("tag"); it != j.end() && it->is_string())
    entry.tag = it->template get<std::string>();
  entry.started_at_ms = detail::event_integer(j, "started_at_ms").value_or(0);
  if (auto const it = j.find("running"); it != j.end() && it->is_boolean())
    entry.running = it->template get<bool>();
  entry.exit_code = detail::event_small(j, "exit_code");
  return entry;
}

/// `{"id","pid","state":"running"|"exited","first_seq","last_seq","exit":{...}}`.
template <class Json = json>
[[nodiscard]] Json run_status_to_json(run_status const& status) {
  Json j = {{"id", status.id},
            {"pid", status.pid},
            {"state", status.exited ? "exited" : "running"},
            {"first_seq", status.first_seq},
            {"last_seq", status.last_seq}};
  if (status.exited)
    j["exit"] = event_to_json<Json>(status.exit);
  return j;
}

/// Reads a run's state; `errc::protocol_error` when an exited run has no exit.
template <class Json>
[[nodiscard]] run_status run_status_from_json(Json const& j) {
  auto const state = j.is_object() ? j.find("state") : j.end();
  if (state == j.end() || !state->is_string())
    throw error(errc::protocol_error, "the agent's answer has no state",
                {.where = hop::agent, .may_have_reached_peer = true});
  run_status status;
  if (auto const it = j.find("id"); it != j.end() && it->is_string())
    status.id = it->template get<std::string>();
  status.pid = detail::event_integer(j, "pid").value_or(0);
  status.exited = state->template get_ref<std::string const&>() == "exited";
  status.first_seq = detail::event_count(j, "first_seq");
  status.last_seq = detail::event_count(j, "last_seq");
  if (status.exited) {
    auto const it = j.find("exit");
    if (it == j.end() || !it->is_object())
      throw error(errc::protocol_error, "the agent's answer has no exit",
                  {.where = hop::agent, .may_have_reached_peer = true});
    status.exit = exit_from_json(*it);
  }
  return status;
}

/// The accepted offset in an answer of `POST /v1/processes/{id}/stdin`; nothing when there is none.
template <class Json = json>
[[nodiscard]] std::optional<std::uint64_t> accepted_input(std::string_view answer) {
  auto const j = hf::detail::parse_json<Json>(answer);
  auto const it = j.is_object() ? j.find("accepted") : j.end();
  if (!j.is_object() || it == j.end() || !it->is_number_unsigned())
    return std::nullopt;
  return it->template get<std::uint64_t>();
}

/// `{"signal":15,"scope":"process"}`.
template <class Json = json>
[[nodiscard]] Json signal_request_to_json(signal_request const& request) {
  return {{"signal", request.signal}, {"scope", request.scope}};
}

}  // namespace hf::wire

#endif
