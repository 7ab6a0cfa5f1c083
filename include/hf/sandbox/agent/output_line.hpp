#ifndef HF_SANDBOX_AGENT_OUTPUT_LINE_HPP
#define HF_SANDBOX_AGENT_OUTPUT_LINE_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/wire/events.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace hf::detail {

/// Undoes JSON's escapes up to the closing quote, appending to `out`; returns how far it came
/// behind that quote, or npos for what only a whole JSON parser should judge (surrogates,
/// control bytes, anything malformed).
template <class = void>
[[nodiscard]] std::size_t unescape_string(std::string_view text, std::string& out) {
  std::size_t at = 0;
  std::size_t quote = 0;
  for (;;) {
    // memchr is far faster than a loop; the next quote is looked for only once it was passed.
    if (quote <= at) {
      auto const* const found =
          static_cast<char const*>(std::memchr(text.data() + at, '"', text.size() - at));
      if (found == nullptr)
        return std::string_view::npos;
      quote = static_cast<std::size_t>(found - text.data());
    }
    auto const* const base = text.data() + at;
    auto const* const escape = static_cast<char const*>(std::memchr(base, '\\', quote - at));
    if (escape == nullptr) {
      out.append(base, quote - at);
      return quote + 1;
    }
    auto const plain = static_cast<std::size_t>(escape - base);
    out.append(base, plain);
    at += plain + 1;
    if (at >= text.size())
      return std::string_view::npos;
    switch (text[at++]) {
      case 'n':
        out.push_back('\n');
        break;
      case 't':
        out.push_back('\t');
        break;
      case 'r':
        out.push_back('\r');
        break;
      case 'b':
        out.push_back('\b');
        break;
      case 'f':
        out.push_back('\f');
        break;
      case '"':
        out.push_back('"');
        break;
      case '\\':
        out.push_back('\\');
        break;
      case '/':
        out.push_back('/');
        break;
      case 'u': {
        if (text.size() - at < 4)
          return std::string_view::npos;
        auto const parsed = parse_number<16>(text.substr(at, 4));
        if (!parsed || (*parsed >= 0xd800 && *parsed < 0xe000))
          return std::string_view::npos;
        auto const unit = static_cast<unsigned>(*parsed);
        at += 4;
        if (unit < 0x80) {
          out.push_back(static_cast<char>(unit));
        } else if (unit < 0x800) {
          out.push_back(static_cast<char>(0xc0 | (unit >> 6)));
          out.push_back(static_cast<char>(0x80 | (unit & 0x3f)));
        } else {
          out.push_back(static_cast<char>(0xe0 | (unit >> 12)));
          out.push_back(static_cast<char>(0x80 | ((unit >> 6) & 0x3f)));
          out.push_back(static_cast<char>(0x80 | (unit & 0x3f)));
        }
        break;
      }
      default:
        return std::string_view::npos;
    }
  }
}

/// Reads an output event in the form in which agents write it (keys in alphabetical order, no white
/// space), several times faster than a JSON parser; false when the line has any other form.
template <class = void>
[[nodiscard]] bool read_output_line(std::string_view line, wire::output_event& output) {
  constexpr std::string_view text_head = "{\"data\":\"";
  constexpr std::string_view bytes_head = "{\"b64\":\"";
  if (line.starts_with(text_head)) {
    line.remove_prefix(text_head.size());
    auto const behind = unescape_string(line, output.data);
    if (behind == std::string_view::npos)
      return false;
    line.remove_prefix(behind);
  } else if (line.starts_with(bytes_head)) {
    line.remove_prefix(bytes_head.size());
    auto const quote = line.find('"');
    if (quote == std::string_view::npos)
      return false;
    auto bytes = base64_decode(line.substr(0, quote));
    if (!bytes)
      return false;
    output.data = std::move(*bytes);
    line.remove_prefix(quote + 1);
  } else {
    return false;
  }
  if (line.starts_with(",\"event\":\"stdout\""))
    output.stream = wire::output_stream::out;
  else if (line.starts_with(",\"event\":\"stderr\""))
    output.stream = wire::output_stream::err;
  else
    return false;
  line.remove_prefix(std::string_view(",\"event\":\"stdout\"").size());
  if (line == "}")
    return true;
  constexpr std::string_view seq = ",\"seq\":";
  if (!line.starts_with(seq))
    return false;
  line.remove_prefix(seq.size());
  if (!line.ends_with('}'))
    return false;
  line.remove_suffix(1);
  auto const number = parse_number(line);
  if (number)
    output.seq = *number;
  return number.has_value();
}

}  // namespace hf::detail

#endif
