#ifndef HF_SANDBOX_AGENT_EVENT_STREAM_HPP
#define HF_SANDBOX_AGENT_EVENT_STREAM_HPP

#include <hf/sandbox/agent/output_line.hpp>
#include <hf/sandbox/detail/parse_json.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/json.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// Bytes in, events out: newline-delimited JSON, cut anywhere. No I/O, no thread.
template <class = void>
class basic_event_stream {
 public:
  /// Longest line accepted: far above what an agent sends (one pipe read, escaped).
  static constexpr std::size_t max_line = 16u << 20;

  /// Takes the next bytes and calls `on_event(wire::event&&)` for each event that they complete.
  /// Stops early when `on_event` returns false (the rest is dropped).
  template <class OnEvent, class Json = wire::json, class Event = wire::event>
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
      if (wire::output_event output; read_output_line(line, output)) {
        go_on = on_event(Event(std::move(output)));
      } else if (line.find_first_not_of(" \r\t") != std::string_view::npos) {
        if (auto event = wire::event_from_json<Json, Event>(parse_json<Json>(line, 1000)))
          go_on = on_event(std::move(*event));
      }
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
using event_stream = basic_event_stream<>;

}  // namespace hf::detail

#endif
