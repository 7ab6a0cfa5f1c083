#ifndef HF_SANDBOX_HTTP_RESPONSE_HPP
#define HF_SANDBOX_HTTP_RESPONSE_HPP

#include <hf/sandbox/http/headers.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace hf::http {

/// Status line and fields of an answer.
struct response_head {
  /// The status code.
  int status = 0;
  /// The header fields.
  headers fields = {};
};

/// A whole answer in memory.
struct response {
  /// The status code.
  int status = 0;
  /// The header fields.
  headers fields = {};
  /// The body.
  std::string body = {};
};

/// A sink's answer: go on, or end the exchange (no error; the connection is dropped).
enum class flow { more, stop };

/// Where a transport delivers an answer; called on the thread that called `send`.
///
/// `on_head` comes once, with the final (not 1xx) head, before any data. An exception ends the
/// exchange and leaves `send` unchanged.
class response_sink {
 public:
  virtual ~response_sink() = default;
  /// Takes the head, before any data.
  virtual flow on_head(response_head const& head) = 0;
  /// Takes the next bytes of the body; they are gone when it returns.
  virtual flow on_data(std::span<std::byte const> data) = 0;
};

}  // namespace hf::http

#endif
