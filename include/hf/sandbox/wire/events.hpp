#ifndef HF_SANDBOX_WIRE_EVENTS_HPP
#define HF_SANDBOX_WIRE_EVENTS_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/utf8.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace hf::wire {

/// Which pipe output came from.
enum class output_stream { out, err };

/// `{"event":"start"}`: the command runs.
struct start_event {
  /// Process id inside the machine.
  std::int64_t pid = 0;
  /// The run's id, where the request carried an operation id and the agent honours it; else empty.
  std::string id = {};
};

/// `{"event":"stdout"|"stderr"}`: output, as exact bytes where the agent speaks `"v":2`.
struct output_event {
  /// Which of the two.
  output_stream stream = output_stream::out;
  /// The bytes.
  std::string data = {};
  /// Number of the record, from 1; 0 when the agent does not number.
  std::uint64_t seq = 0;
};

/// `{"event":"ping"}`: nothing happened for 15 s.
struct ping_event {};

/// `{"event":"exit"}`: the end, after all output. Without code and signal nobody knows how the
/// command ended.
struct exit_event {
  /// Exit code; nothing when a signal ended the command.
  std::optional<int> exit_code = {};
  /// The signal that ended it.
  std::optional<int> signal = {};
  /// Its own timeout ran out.
  bool timed_out = false;
  /// Running time in milliseconds.
  std::int64_t duration_ms = 0;
  /// A descendant still holds a pipe open.
  bool output_open = false;
  /// Processes that may belong to the command, are alive, and could not be attributed.
  std::int64_t unattributed = 0;
  /// Bytes of output that were dropped because nobody read them in time or `max_output` was
  /// reached.
  std::uint64_t dropped_bytes = 0;
  /// Number of the record; 0 when the agent does not number.
  std::uint64_t seq = 0;

  /// Whether the agent knows how the command ended.
  [[nodiscard]] bool is_known() const noexcept {
    return exit_code.has_value() || signal.has_value() || timed_out;
  }
};

/// Any event of an exec stream.
using event = std::variant<start_event, output_event, ping_event, exit_event>;

/// `stdout` or `stderr`.
[[nodiscard]] constexpr std::string_view to_string(output_stream stream) noexcept {
  return stream == output_stream::out ? "stdout" : "stderr";
}

template <class Json = json>
[[nodiscard]] Json event_to_json(start_event const& start) {
  Json j = {{"event", "start"}, {"pid", start.pid}};
  if (!start.id.empty())
    j["id"] = start.id;
  return j;
}

/// Data that is not UTF-8 goes as `b64` in numbered events; else with U+FFFD in its place.
template <class Json = json>
[[nodiscard]] Json event_to_json(output_event const& output) {
  Json j = {{"event", std::string(to_string(output.stream))}};
  if (output.seq != 0)
    j["seq"] = output.seq;
  if (output.seq != 0 && !hf::detail::is_utf8(output.data))
    j["b64"] = hf::detail::base64_encode(output.data);
  else
    j["data"] = hf::detail::utf8_lossy(output.data);
  return j;
}

template <class Json = json>
[[nodiscard]] Json event_to_json(ping_event const&) {
  return {{"event", "ping"}};
}

/// `output_open`, `unattributed`, `dropped_bytes` and `seq` stand there only when they say
/// something.
template <class Json = json>
[[nodiscard]] Json event_to_json(exit_event const& exit) {
  Json j = {{"event", "exit"},
            {"exit_code", nullptr},
            {"signal", nullptr},
            {"timed_out", exit.timed_out},
            {"duration_ms", exit.duration_ms}};
  if (exit.exit_code)
    j["exit_code"] = *exit.exit_code;
  if (exit.signal)
    j["signal"] = *exit.signal;
  if (exit.output_open)
    j["output_open"] = true;
  if (exit.unattributed != 0)
    j["unattributed"] = exit.unattributed;
  if (exit.dropped_bytes != 0)
    j["dropped_bytes"] = exit.dropped_bytes;
  if (exit.seq != 0)
    j["seq"] = exit.seq;
  return j;
}

template <class Json = json, std::same_as<event> Event>
[[nodiscard]] Json event_to_json(Event const& any) {
  return std::visit([](auto const& one) { return event_to_json<Json>(one); }, any);
}

namespace detail {

template <class = void>
[[noreturn]] void malformed_event(char const* what) {
  throw error(errc::protocol_error, std::string("the agent's event stream is malformed: ") + what,
              {.where = hop::agent, .may_have_reached_peer = true});
}

template <class Json>
std::optional<std::int64_t> event_integer(Json const& j, char const* key) {
  auto const it = j.find(key);
  if (it == j.end() || it->is_null())
    return std::nullopt;
  if (!it->is_number_integer())
    malformed_event("a number is not an integer");
  if (it->is_number_unsigned() && it->template get<std::uint64_t>() > std::uint64_t{INT64_MAX})
    malformed_event("a number is out of range");
  return it->template get<std::int64_t>();
}

template <class Json>
std::optional<int> event_small(Json const& j, char const* key) {
  auto const value = event_integer(j, key);
  if (!value)
    return std::nullopt;
  if (*value < (std::numeric_limits<int>::min)() || *value > (std::numeric_limits<int>::max)())
    malformed_event("a number is out of range");
  return static_cast<int>(*value);
}

template <class Json>
std::uint64_t event_count(Json const& j, char const* key) {
  auto const value = event_integer(j, key).value_or(0);
  if (value < 0)
    malformed_event("a count is negative");
  return static_cast<std::uint64_t>(value);
}

template <class Json>
bool event_flag(Json const& j, char const* key) {
  auto const it = j.find(key);
  return it != j.end() && it->is_boolean() && it->template get<bool>();
}

template <class Json>
output_event output_from_json(Json& j, output_stream stream) {
  output_event output;
  output.stream = stream;
  output.seq = event_count(j, "seq");
  if (auto const it = j.find("data"); it != j.end() && it->is_string()) {
    output.data = std::move(it->template get_ref<std::string&>());
  } else if (auto const b64 = j.find("b64"); b64 != j.end() && b64->is_string()) {
    auto bytes = hf::detail::base64_decode(b64->template get_ref<std::string const&>());
    if (!bytes)
      malformed_event("output is not base64");
    output.data = std::move(*bytes);
  } else {
    malformed_event("output without data");
  }
  return output;
}

}  // namespace detail

/// The members of an exit event, whatever object they stand in (an event, `wait`, `/v1/ops`).
/// Throws `errc::protocol_error` when they cannot be right.
template <class Json>
[[nodiscard]] exit_event exit_from_json(Json const& j) {
  if (!j.is_object())
    detail::malformed_event("an exit is not an object");
  exit_event exit;
  exit.exit_code = detail::event_small(j, "exit_code");
  exit.signal = detail::event_small(j, "signal");
  exit.timed_out = detail::event_flag(j, "timed_out");
  exit.duration_ms = detail::event_integer(j, "duration_ms").value_or(0);
  exit.output_open = detail::event_flag(j, "output_open");
  exit.unattributed = detail::event_integer(j, "unattributed").value_or(0);
  exit.dropped_bytes = detail::event_count(j, "dropped_bytes");
  exit.seq = detail::event_count(j, "seq");
  return exit;
}

/// Reads one event. Nothing for an event of an unknown kind, which newer agents may send;
/// `errc::protocol_error` for what is not an event.
template <class Json, class Event = event>
[[nodiscard]] std::optional<Event> event_from_json(Json j) {
  if (!j.is_object())
    detail::malformed_event("a line is not a JSON object");
  auto const kind = j.find("event");
  if (kind == j.end() || !kind->is_string())
    detail::malformed_event("a line has no event");
  auto const& name = kind->template get_ref<std::string const&>();
  if (name == "stdout")
    return Event(detail::output_from_json(j, output_stream::out));
  if (name == "stderr")
    return Event(detail::output_from_json(j, output_stream::err));
  if (name == "ping")
    return Event(ping_event{});
  if (name == "start") {
    start_event start;
    start.pid = detail::event_integer(j, "pid").value_or(0);
    if (auto const it = j.find("id"); it != j.end() && it->is_string())
      start.id = it->template get<std::string>();
    return Event(std::move(start));
  }
  if (name == "exit")
    return Event(exit_from_json(j));
  return std::nullopt;
}

}  // namespace hf::wire

#endif
