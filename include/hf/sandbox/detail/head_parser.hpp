#ifndef HF_SANDBOX_DETAIL_HEAD_PARSER_HPP
#define HF_SANDBOX_DETAIL_HEAD_PARSER_HPP

#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/response.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// Builds a response head from its lines; swallows 1xx heads. The limits hold for all heads of an
/// answer together, so that 1xx heads without end are noticed too.
template <class = void>
class basic_head_parser {
 public:
  enum class outcome { more, done, malformed, too_large };

  /// Takes one line, with or without its line end. After `done`, further lines are not expected.
  template <class = void>
  outcome line(std::string_view text) {
    if (!text.empty() && text.back() == '\n')
      text.remove_suffix(1);
    if (!text.empty() && text.back() == '\r')
      text.remove_suffix(1);
    bytes_ += text.size() + 2;
    if (text.size() > line_limit || bytes_ > limit)
      return outcome::too_large;
    if (has_control_byte(text))
      return outcome::malformed;
    if (!begun_)
      return status_line(text);
    if (text.empty())
      return end();
    if (text.front() == ' ' || text.front() == '\t') {
      // A folded line (obsolete, RFC 9112, 5.2) continues the value before it.
      if (name_.empty())
        return outcome::malformed;
      if (value_.size() + text.size() > line_limit)
        return outcome::too_large;
      value_ += " " + std::string(trim(text));
      return outcome::more;
    }
    flush();
    if (++fields_ > field_limit)
      return outcome::too_large;
    auto const colon = text.find(':');
    if (colon == std::string_view::npos || !is_http_token(text.substr(0, colon)))
      return outcome::malformed;
    name_ = std::string(text.substr(0, colon));
    value_ = std::string(trim(text.substr(colon + 1)));
    return outcome::more;
  }

  [[nodiscard]] http::response_head const& head() const noexcept { return head_; }

  /// Whether the peer speaks HTTP/1.0, which does not keep connections.
  [[nodiscard]] bool is_http_1_0() const noexcept { return is_http_1_0_; }

  /// Longest line, folded lines together; most fields; most bytes of all lines.
  static constexpr std::size_t line_limit = 64 * 1024;
  static constexpr std::size_t field_limit = 1000;
  static constexpr std::size_t limit = 256 * 1024;

 private:
  static std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
      text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
      text.remove_suffix(1);
    return text;
  }

  static bool has_control_byte(std::string_view text) {
    for (char const c : text)
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
        return true;
    return false;
  }

  template <class = void>
  outcome status_line(std::string_view text) {
    if (text.substr(0, 7) != "HTTP/1." || text.size() < 12 || text[8] != ' ' ||
        (text[7] != '0' && text[7] != '1'))
      return outcome::malformed;
    auto const status = parse_number(text.substr(9, 3));
    if (!status || *status < 100 || (text.size() > 12 && text[12] != ' '))
      return outcome::malformed;
    head_ = {};
    head_.status = static_cast<int>(*status);
    is_http_1_0_ = text[7] == '0';
    begun_ = true;
    return outcome::more;
  }

  void flush() {
    if (!name_.empty())
      head_.fields.add(std::exchange(name_, {}), std::exchange(value_, {}));
  }

  outcome end() {
    flush();
    begun_ = false;
    // 101 ends HTTP on this connection, and nobody asked for that.
    if (head_.status == 101)
      return outcome::malformed;
    return head_.status < 200 ? outcome::more : outcome::done;
  }

  http::response_head head_;
  std::string name_;
  std::string value_;
  std::size_t bytes_ = 0;
  std::size_t fields_ = 0;
  bool is_http_1_0_ = false;
  bool begun_ = false;
};
using head_parser = basic_head_parser<>;

/// The length of the body that a head announces; nothing when only its end tells.
template <class = void>
[[nodiscard]] std::optional<std::uint64_t> announced_length(http::response_head const& head,
                                                            bool head_request) {
  if (head_request || head.status == 204 || head.status == 304)
    return 0;
  if (head.fields.contains("Transfer-Encoding"))
    return std::nullopt;
  return parse_number(head.fields.get("Content-Length"));
}

/// Whether a head contradicts itself: several different lengths, or one that is no number of 64
/// bits. The end of such a body is anyone's guess (RFC 9112, 6.3).
template <class = void>
[[nodiscard]] bool framing_is_ambiguous(http::response_head const& head) {
  std::string const* first = nullptr;
  for (auto const& field : head.fields) {
    if (!http::iequals(field.name, "Content-Length"))
      continue;
    if (!parse_number(field.value))
      return true;
    if (first != nullptr && *first != field.value)
      return true;
    first = &field.value;
  }
  return false;
}

}  // namespace hf::detail

#endif
