#ifndef HF_SANDBOX_AGENT_EVENT_STREAM_HPP
#define HF_SANDBOX_AGENT_EVENT_STREAM_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// Decodes one line of an event stream. Nothing for an event of an unknown kind, which newer agents
/// may send; `errc::protocol_error` for what is not an event.
[[nodiscard]] inline std::optional<wire::event> decode_event(std::string_view line) {
  auto const bad = [](char const* what) {
    return error(errc::protocol_error,
                 std::string("the agent's event stream is malformed: ") + what,
                 {.where = hop::agent, .may_have_reached_peer = true});
  };
  auto j = wire::json::parse(line, nullptr, false);
  if (!j.is_object())
    throw bad("a line is not a JSON object");
  auto const kind = j.find("event");
  if (kind == j.end() || !kind->is_string())
    throw bad("a line has no event");

  auto const integer = [&](char const* key) -> std::optional<std::int64_t> {
    auto const it = j.find(key);
    if (it == j.end() || !it->is_number_integer())
      return std::nullopt;
    return it->template get<std::int64_t>();
  };
  auto const small = [&](char const* key) -> std::optional<int> {
    auto const value = integer(key);
    if (!value)
      return std::nullopt;
    if (*value < (std::numeric_limits<int>::min)() || *value > (std::numeric_limits<int>::max)())
      throw bad("a number is out of range");
    return static_cast<int>(*value);
  };
  auto const count = [&](char const* key) {
    auto const value = integer(key).value_or(0);
    if (value < 0)
      throw bad("a count is negative");
    return static_cast<std::uint64_t>(value);
  };
  auto const flag = [&](char const* key) {
    auto const it = j.find(key);
    return it != j.end() && it->is_boolean() && it->template get<bool>();
  };

  auto const& name = kind->get_ref<std::string const&>();
  if (name == "stdout" || name == "stderr") {
    wire::output_event output;
    output.stream = name == "stdout" ? wire::output_stream::out : wire::output_stream::err;
    output.seq = count("seq");
    if (auto const it = j.find("data"); it != j.end() && it->is_string()) {
      output.data = std::move(it->get_ref<std::string&>());
    } else if (auto const b64 = j.find("b64"); b64 != j.end() && b64->is_string()) {
      auto bytes = base64_decode(b64->get_ref<std::string const&>());
      if (!bytes)
        throw bad("output is not base64");
      output.data = std::move(*bytes);
    } else {
      throw bad("output without data");
    }
    return wire::event(std::move(output));
  }
  if (name == "ping")
    return wire::event(wire::ping_event{});
  if (name == "start") {
    wire::start_event start;
    start.pid = integer("pid").value_or(0);
    if (auto const it = j.find("id"); it != j.end() && it->is_string())
      start.id = it->get<std::string>();
    return wire::event(std::move(start));
  }
  if (name == "exit") {
    wire::exit_event exit;
    exit.exit_code = small("exit_code");
    exit.signal = small("signal");
    exit.timed_out = flag("timed_out");
    exit.duration_ms = integer("duration_ms").value_or(0);
    exit.output_open = flag("output_open");
    exit.unattributed = integer("unattributed").value_or(0);
    exit.dropped_bytes = count("dropped_bytes");
    exit.seq = count("seq");
    if (!exit.exit_code && !exit.signal && !exit.timed_out)
      throw bad("an exit without code and signal");
    return wire::event(exit);
  }
  return std::nullopt;
}

/// Bytes in, events out: newline-delimited JSON, cut anywhere. No I/O, no thread.
class event_stream {
 public:
  /// Longest line accepted: far above what an agent sends (one pipe read, escaped).
  static constexpr std::size_t max_line = 16u << 20;

  /// Takes the next bytes and calls `on_event(wire::event&&)` for each event that they complete.
  /// Stops early when `on_event` returns false (the rest is dropped).
  template <class OnEvent>
  void feed(std::span<std::byte const> data, OnEvent&& on_event) {
    std::string_view rest(reinterpret_cast<char const*>(data.data()), data.size());
    while (!rest.empty()) {
      auto const end = rest.find('\n');
      if (end == std::string_view::npos) {
        if (partial_.size() + rest.size() > max_line)
          throw error(errc::protocol_error, "the agent's event stream has an endless line",
                      {.where = hop::agent, .may_have_reached_peer = true});
        partial_.append(rest);
        return;
      }
      std::string_view line = rest.substr(0, end);
      rest.remove_prefix(end + 1);
      if (!partial_.empty()) {
        partial_.append(line);
        line = partial_;
      }
      bool go_on = true;
      if (line.find_first_not_of(" \r\t") != std::string_view::npos)
        if (auto event = decode_event(line))
          go_on = on_event(std::move(*event));
      partial_.clear();
      if (!go_on)
        return;
    }
  }

  /// Whether the stream ended in the middle of a line.
  [[nodiscard]] bool mid_line() const noexcept { return !partial_.empty(); }
  /// Forgets a line that was cut off, for a new connection.
  void reset() noexcept { partial_.clear(); }

 private:
  std::string partial_;
};

}  // namespace hf::detail

#endif
