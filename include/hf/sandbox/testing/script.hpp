#ifndef HF_SANDBOX_TESTING_SCRIPT_HPP
#define HF_SANDBOX_TESTING_SCRIPT_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/response.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::testing {

/// A request that reached a test double, with its body read.
struct seen_request {
  /// The method.
  std::string method = {};
  /// The whole URL.
  std::string url = {};
  /// Path without the query.
  std::string path = {};
  /// What follows the question mark, as it was sent.
  std::string query = {};
  /// The header fields.
  http::headers fields = {};
  /// The body.
  std::string body = {};
  /// The unix socket, if one was named.
  std::string unix_socket = {};
};

/// Whether `text` matches `pattern`, in which each "*" stands for any characters.
[[nodiscard]] inline bool matches_pattern(std::string_view pattern, std::string_view text) {
  std::size_t p = 0;
  std::size_t t = 0;
  auto star = std::string_view::npos;
  std::size_t mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*')
    ++p;
  return p == pattern.size();
}

/// One expected request and what answers it; made by `scripted_transport::expect`.
///
/// Describe the answer with `reply`, `reply_with` or `fail`, and refine it with the others; without
/// any, the answer is an empty 200. The members return the expectation, for chaining.
class expectation {
 public:
  /// The method.
  expectation(std::string method, std::string pattern)
      : method_(std::move(method)), pattern_(std::move(pattern)) {}

  /// Answers with this status, body and fields.
  expectation& reply(int status, std::string body = {}, http::headers fields = {}) {
    return stream(status, {std::move(body)}, std::move(fields));
  }
  /// Answers with a whole response, such as those of `agent_replies.hpp`.
  expectation& reply(http::response answer) {
    return reply(answer.status, std::move(answer.body), std::move(answer.fields));
  }
  /// Answers piece by piece; each piece is one call of the sink.
  expectation& stream(int status, std::vector<std::string> pieces, http::headers fields = {}) {
    head_ = {status, std::move(fields)};
    pieces_ = std::move(pieces);
    make_ = {};
    return *this;
  }
  /// Answers with what a function makes of the request. It may throw what `send` should throw.
  expectation& reply_with(std::function<http::response(seen_request const&)> make) {
    make_ = std::move(make);
    return *this;
  }
  /// Fails in place of an answer.
  expectation& fail(errc code, std::string message = "as the script says") {
    return fail_after(0, code, std::move(message), false);
  }
  /// Fails after the head and this many bytes of the body.
  expectation& fail_after(std::uint64_t bytes, errc code,
                          std::string message = "as the script says") {
    return fail_after(bytes, code, std::move(message), true);
  }
  /// Waits before the head; the request's limits and stop token hold as with a real server.
  expectation& wait(std::chrono::milliseconds time) {
    wait_ = time;
    return *this;
  }
  /// Waits before every piece of the body.
  expectation& wait_between(std::chrono::milliseconds time) {
    wait_between_ = time;
    return *this;
  }
  /// Is only for requests that this function accepts.
  expectation& where(std::function<bool(seen_request const&)> accepts) {
    accepts_ = std::move(accepts);
    return *this;
  }
  /// Is only for requests that carry this field.
  expectation& with_header(std::string name, std::string value) {
    return where([name = std::move(name), value = std::move(value)](seen_request const& rq) {
      return rq.fields.get(name) == value;
    });
  }
  /// Is for exactly `n` requests (the default is 1).
  expectation& times(std::size_t n) {
    least_ = most_ = n;
    return *this;
  }
  /// Is for any number of requests, also none.
  expectation& any_number_of_times() {
    least_ = 0;
    most_ = (std::numeric_limits<std::size_t>::max)();
    return *this;
  }

 private:
  friend class scripted_transport;

  struct failure {
    std::uint64_t after;
    errc code;
    std::string message;
    bool with_head;
  };

  expectation& fail_after(std::uint64_t bytes, errc code, std::string message, bool with_head) {
    failure_ = failure{bytes, code, std::move(message), with_head};
    return *this;
  }
  /// "/path", "/path?query" or "http://host/path", each with "*".
  [[nodiscard]] bool fits(seen_request const& rq) const {
    if (method_ != "*" && method_ != rq.method)
      return false;
    bool const whole = pattern_.find("://") != std::string::npos;
    auto const text = whole                                     ? rq.url
                      : pattern_.find('?') != std::string::npos ? rq.path + "?" + rq.query
                                                                : rq.path;
    return matches_pattern(pattern_, text) && (!accepts_ || accepts_(rq));
  }
  [[nodiscard]] std::string name() const { return method_ + " " + pattern_; }

  std::string method_;
  std::string pattern_;
  http::response_head head_{200, {}};
  std::vector<std::string> pieces_;
  std::function<http::response(seen_request const&)> make_;
  std::function<bool(seen_request const&)> accepts_;
  std::optional<failure> failure_;
  std::chrono::milliseconds wait_{0};
  std::chrono::milliseconds wait_between_{0};
  std::size_t least_ = 1;
  std::size_t most_ = 1;
  std::size_t used_ = 0;
};

}  // namespace hf::testing

#endif
