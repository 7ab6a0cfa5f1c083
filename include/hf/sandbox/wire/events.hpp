#ifndef HF_SANDBOX_WIRE_EVENTS_HPP
#define HF_SANDBOX_WIRE_EVENTS_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace hf::wire {

/// Which pipe output came from.
enum class output_stream { out, err };

/// `{"event":"start"}`: the command runs.
struct start_event {
  std::int64_t pid = 0;
  /// The run's id, where the request carried an operation id and the agent honours it; else empty.
  std::string id = {};
};

/// `{"event":"stdout"|"stderr"}`: output, as exact bytes where the agent speaks `"v":2`.
struct output_event {
  output_stream stream = output_stream::out;
  std::string data = {};
  /// Number of the record, from 1; 0 when the agent does not number.
  std::uint64_t seq = 0;
};

/// `{"event":"ping"}`: nothing happened for 15 s.
struct ping_event {};

/// `{"event":"exit"}`: the end, after all output.
struct exit_event {
  std::optional<int> exit_code = {};
  std::optional<int> signal = {};
  bool timed_out = false;
  std::int64_t duration_ms = 0;
  /// A descendant still holds a pipe open.
  bool output_open = false;
  /// Processes that may belong to the command, are alive, and could not be attributed.
  std::int64_t unattributed = 0;
  /// Bytes of output that were dropped because nobody read them in time or `max_output` was reached.
  std::uint64_t dropped_bytes = 0;
  /// Number of the record; 0 when the agent does not number.
  std::uint64_t seq = 0;
};

/// Any event of an exec stream.
using event = std::variant<start_event, output_event, ping_event, exit_event>;

}  // namespace hf::wire

#endif
