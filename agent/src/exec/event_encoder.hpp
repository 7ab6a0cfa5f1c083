#ifndef HF_SANDBOX_AGENT_EXEC_EVENT_ENCODER_HPP
#define HF_SANDBOX_AGENT_EXEC_EVENT_ENCODER_HPP

#include "exec/byte_buffer.hpp"

#include <hf/sandbox/wire/events.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hf::agent {

/// Appends the bytes as the inside of a JSON string. Escaped are what JSON requires, and U+0085,
/// U+2028 and U+2029, at which some clients split lines. Bytes that are not UTF-8 become U+FFFD
/// when `lossy`; otherwise the buffer is left as it was and the result is false.
bool append_json_text(byte_buffer& out, std::string_view bytes, bool lossy);

/// Appends an output event as a line: what `wire::event_to_json` makes, many times faster. `seq` 0:
/// an event without number, whose text is lossy; with a number, bytes that are not UTF-8 go as b64.
void append_output_event(byte_buffer& out, wire::output_stream stream, std::string_view bytes,
                         std::uint64_t seq);

/// Appends any other event as a line.
void append_event(byte_buffer& out, wire::event const& event);

/// How many bytes at the end begin a UTF-8 character that is not complete: 0 to 3.
[[nodiscard]] std::size_t incomplete_utf8_tail(std::string_view bytes) noexcept;

}  // namespace hf::agent

#endif
