#ifndef HF_SANDBOX_AGENT_HTTP_HEAD_HPP
#define HF_SANDBOX_AGENT_HTTP_HEAD_HPP

#include "http/exchange.hpp"
#include "http/limits.hpp"
#include "http/message_parser.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace hf::agent {

/// Where a head ends in the bytes received so far, looked for line by line.
class head_scanner {
 public:
  /// Looks at what is new in `received` (always from the head's first byte). Returns the head's
  /// length once it is complete, else nothing. Throws `http_error` 400 for a line that does not end
  /// in CR LF, a NUL, another control byte, a byte that is not ASCII, a folded line or space before
  /// the colon, and 431 above the limits.
  std::optional<std::size_t> scan(std::string_view received, limits const& allowed);

 private:
  void check_line(std::string_view line, limits const& allowed);
  void check_bytes(std::string_view bytes);

  std::size_t line_ = 0;
  std::size_t checked_ = 0;
  std::size_t lines_ = 0;
};

/// How a request's body is delimited.
struct body_framing {
  bool chunked = false;
  /// Meaningful unless chunked.
  std::uint64_t length = 0;
  bool expects_continue = false;
};

/// Parses a complete head that `head_scanner` has let pass; `parser` then decodes a chunked body.
/// Throws `http_error` 400.
body_framing parse_head(std::string_view text, request_parser& parser, request_head& head);

}  // namespace hf::agent

#endif
