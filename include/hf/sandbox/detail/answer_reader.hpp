#ifndef HF_SANDBOX_DETAIL_ANSWER_READER_HPP
#define HF_SANDBOX_DETAIL_ANSWER_READER_HPP

#include <hf/sandbox/detail/head_parser.hpp>
#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/response.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace hf::detail {

/// Splits the bytes of an HTTP/1 answer into its head and the pieces of its body (RFC 9112), without
/// a socket: `next` says what the bytes given to it were, `at_end` whether the answer may end where
/// the connection did. Holds at most one line; heads, chunk lines and trailers are limited.
class answer_reader {
 public:
  enum class event { need_more, head, data, done, malformed };

  /// `head_request`: the request was a HEAD, whose answer has no body.
  explicit answer_reader(bool head_request) : head_request_(head_request) {}

  /// Removes from `input` what it has read. With `event::data`, `piece` is a part of the body: a view
  /// of what was removed. After `done` and `malformed` nothing more is read.
  event next(std::string_view& input, std::string_view& piece) {
    while (true) {
      switch (state_) {
        case state::done:
          return event::done;
        case state::malformed:
          return event::malformed;
        case state::body:
        case state::chunk:
          if (left_ == 0) {
            state_ = state_ == state::chunk ? state::chunk_end : state::done;
            break;
          }
          if (input.empty())
            return event::need_more;
          piece = input.substr(
              0, static_cast<std::size_t>((std::min<std::uint64_t>)(left_, input.size())));
          input.remove_prefix(piece.size());
          if (!ends_with_connection_)
            left_ -= piece.size();
          return event::data;
        default:
          if (!take_line(input))
            return state_ == state::malformed ? event::malformed : event::need_more;
          bool const had_head = has_head_;
          on_line(line_);
          line_.clear();
          if (has_head_ && !had_head)
            return event::head;
      }
    }
  }

  /// Whether the end of the connection is a good end of this answer.
  [[nodiscard]] bool at_end() const noexcept {
    return state_ == state::done || (state_ == state::body && ends_with_connection_);
  }
  [[nodiscard]] bool has_head() const noexcept { return has_head_; }
  [[nodiscard]] http::response_head const& head() const noexcept { return parser_.head(); }
  /// Whether another answer may follow on the connection.
  [[nodiscard]] bool keeps_connection() const {
    if (state_ != state::done || ends_with_connection_ || parser_.is_http_1_0())
      return false;
    for (auto const& field : head().fields)
      if (http::iequals(field.name, "Connection") && !http::iequals(field.value, "keep-alive"))
        return false;
    return true;
  }

 private:
  enum class state { head, body, chunk_size, chunk, chunk_end, trailer, done, malformed };

  /// Moves bytes up to a line's end into `line_`; true when the line is complete.
  bool take_line(std::string_view& input) {
    auto const end = input.find('\n');
    auto const part = input.substr(0, end == std::string_view::npos ? end : end + 1);
    if (line_.size() + part.size() > head_parser::line_limit + 2) {
      state_ = state::malformed;
      return false;
    }
    line_ += part;
    input.remove_prefix(part.size());
    // A peer that does not speak HTTP may never send a line's end.
    constexpr std::string_view begin = "HTTP/1.";
    auto const n = (std::min)(line_.size(), begin.size());
    if (state_ == state::head && first_line_ && line_.compare(0, n, begin, 0, n) != 0) {
      state_ = state::malformed;
      return false;
    }
    return end != std::string_view::npos;
  }

  void on_line(std::string_view line) {
    if (state_ == state::head) {
      first_line_ = false;
      auto const outcome = parser_.line(line);
      if (outcome == head_parser::outcome::done)
        begin_body();
      else if (outcome != head_parser::outcome::more)
        state_ = state::malformed;
      return;
    }
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r'))
      line.remove_suffix(1);
    if (state_ == state::chunk_size) {
      chunk_line(line);
    } else if (state_ == state::chunk_end) {
      state_ = line.empty() ? state::chunk_size : state::malformed;
    } else if (line.empty()) {
      state_ = state::done;
    } else {
      trailer_bytes_ += line.size() + 2;
      if (trailer_bytes_ > head_parser::limit)
        state_ = state::malformed;
    }
  }

  void begin_body() {
    if (framing_is_ambiguous(head())) {
      state_ = state::malformed;
      return;
    }
    has_head_ = true;
    if (auto const length = announced_length(head(), head_request_)) {
      state_ = state::body;
      left_ = *length;
      return;
    }
    auto coding = head().fields.get("Transfer-Encoding");
    coding = coding.substr(coding.find_last_of(", \t") + 1);
    if (http::iequals(coding, "chunked")) {
      state_ = state::chunk_size;
      return;
    }
    state_ = state::body;
    ends_with_connection_ = true;
    left_ = (std::numeric_limits<std::uint64_t>::max)();
  }

  void chunk_line(std::string_view line) {
    auto size = line.substr(0, line.find(';'));
    while (!size.empty() && (size.back() == ' ' || size.back() == '\t'))
      size.remove_suffix(1);
    auto const number = parse_number<16>(size);
    if (!number) {
      state_ = state::malformed;
      return;
    }
    left_ = *number;
    state_ = left_ == 0 ? state::trailer : state::chunk;
  }

  head_parser parser_;
  std::string line_;
  std::uint64_t left_ = 0;
  std::size_t trailer_bytes_ = 0;
  state state_ = state::head;
  bool head_request_;
  bool first_line_ = true;
  bool has_head_ = false;
  bool ends_with_connection_ = false;
};

}  // namespace hf::detail

#endif
