#include "http/head.hpp"

#include "http/field_text.hpp"
#include "http/target.hpp"

#include <algorithm>

namespace hf::agent {
namespace {

[[noreturn]] void refuse(std::string message) {
  throw http_error{400, "protocol_error", std::move(message)};
}

bool is_token(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
    return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool equals_ignoring_case(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() &&
         std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x) == y;
         });
}

std::uint64_t plain_decimal(std::string_view text) {
  if (text.empty() || text.size() > 18 ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }))
    refuse("malformed Content-Length");
  std::uint64_t value = 0;
  for (char const c : text)
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  return value;
}

template <class Use>
void for_each_element(std::string_view list, Use use) {
  while (!list.empty()) {
    auto const comma = list.find(',');
    use(trimmed(list.substr(0, comma)));
    if (comma == std::string_view::npos)
      break;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace

std::optional<std::size_t> head_scanner::scan(std::string_view received, limits const& allowed) {
  for (;;) {
    auto const end = received.find('\n', line_);
    if (end == std::string_view::npos) {
      if (received.size() > allowed.head_bytes)
        throw http_error{431, "too_large", "request head larger than 64 KiB"};
      // What cannot become a valid line is refused before its end arrives.
      std::string_view unfinished = received.substr(checked_);
      if (!unfinished.empty() && unfinished.back() == '\r')
        unfinished.remove_suffix(1);
      check_bytes(unfinished);
      checked_ += unfinished.size();
      return std::nullopt;
    }
    if (end == line_ || received[end - 1] != '\r')
      refuse("line without CR LF in the request head");
    if (end + 1 > allowed.head_bytes)
      throw http_error{431, "too_large", "request head larger than 64 KiB"};
    std::string_view const line = received.substr(line_, end - 1 - line_);
    line_ = end + 1;
    checked_ = line_;
    if (line.empty()) {
      if (lines_ == 0)
        refuse("empty request line");
      return line_;
    }
    check_line(line, allowed);
    ++lines_;
  }
}

void head_scanner::check_bytes(std::string_view bytes) {
  for (char const c : bytes) {
    auto const byte = static_cast<unsigned char>(c);
    if (byte >= 0x80)
      refuse("byte that is not ASCII in the request head");
    if ((byte < 0x20 && c != '\t') || byte == 0x7f)
      refuse("control byte in the request head");
  }
}

void head_scanner::check_line(std::string_view line, limits const& allowed) {
  check_bytes(line);
  if (lines_ == 0) {
    if (line.find('\t') != std::string_view::npos || std::count(line.begin(), line.end(), ' ') != 2)
      refuse("malformed request line");
    return;
  }
  if (lines_ > allowed.fields)
    throw http_error{431, "too_large", "more than 100 header fields"};
  if (line.front() == ' ' || line.front() == '\t')
    refuse("folded header line");
  auto const colon = line.find(':');
  if (colon == std::string_view::npos)
    refuse("header line without a colon");
  std::string_view const name = line.substr(0, colon);
  if (name.empty() || !std::all_of(name.begin(), name.end(), is_token))
    refuse("malformed header name");
}

body_framing parse_head(std::string_view text, request_parser& parser, request_head& head) {
  boost::beast::error_code failed;
  parser.eager(false);
  parser.put(boost::asio::buffer(text.data(), text.size()), failed);
  if (failed && failed != boost::beast::http::error::need_more) {
    using error = boost::beast::http::error;
    if (failed == error::bad_content_length || failed == error::multiple_content_length)
      refuse("malformed, repeated or contradicted Content-Length");
    if (failed == error::bad_transfer_encoding)
      refuse("repeated Transfer-Encoding, or one together with Content-Length");
    refuse("malformed request: " + failed.message());
  }
  if (!parser.is_header_done())
    refuse("malformed request head");
  if (parser.version != 10 && parser.version != 11)
    refuse("unsupported HTTP version");
  if (!std::all_of(parser.method.begin(), parser.method.end(),
                   [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }))
    refuse("malformed method");

  head.method = std::move(parser.method);
  for (char& c : head.method)
    if (c >= 'a' && c <= 'z')
      c = static_cast<char>(c - 'a' + 'A');
  head.target = std::move(parser.target);
  head.fields = std::move(parser.fields);
  head.minor_version = parser.version - 10;

  body_framing framing;
  bool has_length = false;
  bool has_host = false;
  bool has_token = false;
  bool close = false;
  bool keep = false;
  for (auto const& field : head.fields) {
    std::string_view const name = field.first;
    std::string_view const value = field.second;
    if (name == "content-length") {
      if (has_length)
        refuse("repeated Content-Length");
      has_length = true;
      framing.length = plain_decimal(value);
    } else if (name == "transfer-encoding") {
      if (framing.chunked)
        refuse("repeated Transfer-Encoding");
      if (!equals_ignoring_case(value, "chunked"))
        refuse("unsupported Transfer-Encoding");
      framing.chunked = true;
    } else if (name == "host") {
      if (has_host)
        refuse("repeated Host");
      has_host = true;
    } else if (name == "x-sandbox-token") {
      if (has_token)
        refuse("repeated X-Sandbox-Token");
      has_token = true;
    } else if (name == "connection") {
      for_each_element(value, [&](std::string_view option) {
        close = close || equals_ignoring_case(option, "close");
        keep = keep || equals_ignoring_case(option, "keep-alive");
      });
    } else if (name == "expect") {
      if (!equals_ignoring_case(value, "100-continue"))
        refuse("unsupported Expect");
      framing.expects_continue = head.minor_version == 1;
    }
  }
  if (framing.chunked && has_length)
    refuse("both Content-Length and Transfer-Encoding");
  if (framing.chunked && head.minor_version == 0)
    refuse("Transfer-Encoding in HTTP/1.0");
  if (framing.chunked != parser.chunked())
    refuse("unsupported Transfer-Encoding");
  head.keep_alive = !close && (head.minor_version == 1 || keep);

  // What a server inside makes of its own paths is not for the front door to judge.
  bool const well_encoded = parse_target(head);
  bool const proxied = head.path.size() >= 2 && head.path[0] == "v1" && head.path[1] == "proxy";
  if (!well_encoded && !proxied)
    refuse("malformed percent-encoding");
  return framing;
}

}  // namespace hf::agent
