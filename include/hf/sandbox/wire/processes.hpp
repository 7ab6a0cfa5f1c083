#ifndef HF_SANDBOX_WIRE_PROCESSES_HPP
#define HF_SANDBOX_WIRE_PROCESSES_HPP

#include <cstdint>
#include <optional>
#include <string>

#include <hf/sandbox/wire/json.hpp>

namespace hf::wire {

/// An entry of `GET /v1/processes`, and the answer of `POST /v1/processes` as far as it is filled.
struct process_entry {
  /// "p-N"; empty from agents that know no ids.
  std::string id = {};
  std::int64_t pid = 0;
  /// As it was sent: a string or a list.
  json cmd = nullptr;
  std::optional<std::string> tag = {};
  std::int64_t started_at_ms = 0;
  bool running = true;
  std::optional<int> exit_code = {};
};

}  // namespace hf::wire

#endif
