#ifndef HF_SANDBOX_HTTP_URL_HPP
#define HF_SANDBOX_HTTP_URL_HPP

#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/headers.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace hf::http {

/// An absolute `http` or `https` URL, split. Nothing is decoded.
struct url {
  /// "http" or "https", in lower case.
  std::string scheme = "http";
  /// Host name or address in lower case; an IPv6 address without its brackets.
  std::string host = {};
  /// The port, the scheme's own when the URL names none.
  std::uint16_t port = 80;
  /// Path and query as they go on the request line; at least "/".
  std::string target = "/";

  /// Whether the scheme asks for TLS.
  [[nodiscard]] bool tls() const noexcept { return scheme == "https"; }
  /// Host for a socket or a `Host` field: an IPv6 address in brackets.
  [[nodiscard]] std::string bracketed_host() const {
    return host.find(':') == std::string::npos ? host : "[" + host + "]";
  }
  /// What belongs in the `Host` field: the port only when it is not the scheme's own.
  [[nodiscard]] std::string authority() const {
    return port == (tls() ? 443 : 80) ? bracketed_host()
                                      : bracketed_host() + ":" + std::to_string(port);
  }
  /// Scheme, host and port; what may share a connection, and what error texts name.
  [[nodiscard]] std::string origin() const { return scheme + "://" + authority(); }
};

namespace url_detail {

[[nodiscard]] constexpr bool is_unreserved(unsigned char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

template <class = void>
[[noreturn]] void refuse(char const* why) {
  throw error(errc::invalid_argument, std::string("not a usable URL: ") + why);
}

template <class = void>
std::string encode(std::string_view bytes, std::string_view also_plain) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  out.reserve(bytes.size());
  for (char const ch : bytes) {
    auto const c = static_cast<unsigned char>(ch);
    if (is_unreserved(c) || also_plain.find(ch) != std::string_view::npos) {
      out += ch;
    } else {
      out += '%';
      out += digits[c >> 4];
      out += digits[c & 15];
    }
  }
  return out;
}

}  // namespace url_detail

/// Percent-encodes any bytes for one path segment, query name or query value (RFC 3986, 2.1).
[[nodiscard]] inline std::string encode_component(std::string_view bytes) {
  return url_detail::encode(bytes, "");
}

/// Percent-encodes any bytes for a path; slashes stay.
[[nodiscard]] inline std::string encode_path(std::string_view bytes) {
  return url_detail::encode(bytes, "/");
}

/// Builds "?a=1&b=2" from names and values, each encoded; empty for an empty list.
template <class = void>
[[nodiscard]] std::string encode_query(
    std::initializer_list<std::pair<std::string_view, std::string_view>> parameters) {
  std::string out;
  for (auto const& p : parameters) {
    out += out.empty() ? '?' : '&';
    out += encode_component(p.first);
    out += '=';
    out += encode_component(p.second);
  }
  return out;
}

/// Decodes percent-encoding into bytes. Throws `errc::invalid_argument` for a bad sequence.
[[nodiscard]] inline std::string decode_component(std::string_view text) {
  auto const digit = [](char c) {
    if (c >= '0' && c <= '9')
      return c - '0';
    if (c >= 'a' && c <= 'f')
      return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
      return c - 'A' + 10;
    return -1;
  };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    int const high = i + 1 < text.size() ? digit(text[i + 1]) : -1;
    int const low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
    if (high < 0 || low < 0)
      url_detail::refuse("bad percent-encoding");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

/// Splits an absolute URL. Throws `errc::invalid_argument` for any other scheme, credentials in the
/// URL, a missing host, a bad port, and bytes that have to be percent-encoded (controls, blanks,
/// everything beyond ASCII). A fragment is dropped.
template <class = void>
[[nodiscard]] url parse_url(std::string_view text) {
  for (char const ch : text)
    if (static_cast<unsigned char>(ch) <= 0x20 || static_cast<unsigned char>(ch) >= 0x7f)
      url_detail::refuse("it holds a byte that must be percent-encoded");
  url out;
  auto const colon = text.find("://");
  if (colon == std::string_view::npos)
    url_detail::refuse("it has no scheme");
  if (iequals(text.substr(0, colon), "https")) {
    out.scheme = "https";
    out.port = 443;
  } else if (!iequals(text.substr(0, colon), "http")) {
    url_detail::refuse("its scheme is neither http nor https");
  }
  auto rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find('#'));
  auto const end = rest.find_first_of("/?");
  auto authority = rest.substr(0, end);
  if (end != std::string_view::npos) {
    out.target = std::string(rest.substr(end));
    if (out.target.front() == '?')
      out.target.insert(0, "/");
  }
  if (authority.find('@') != std::string_view::npos)
    url_detail::refuse("it holds credentials");

  std::string_view host = authority;
  std::string_view port;
  if (!authority.empty() && authority.front() == '[') {
    auto const close = authority.find(']');
    if (close == std::string_view::npos)
      url_detail::refuse("the IPv6 address does not end");
    host = authority.substr(1, close - 1);
    port = authority.substr(close + 1);
    if (host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)
      url_detail::refuse("the IPv6 address is malformed");
  } else {
    auto const separator = authority.find(':');
    host = authority.substr(0, separator);
    if (separator != std::string_view::npos)
      port = authority.substr(separator);
    if (host.find_first_of("\"<>\\^`{|}%[]") != std::string_view::npos)
      url_detail::refuse("the host name is malformed");
  }
  if (host.empty())
    url_detail::refuse("it has no host");
  if (!port.empty() && port.front() != ':')
    url_detail::refuse("the port is malformed");
  if (port.size() > 1) {
    auto const number = hf::detail::parse_number(port.substr(1), 65535).value_or(0);
    if (number == 0)
      url_detail::refuse("the port is malformed");
    out.port = static_cast<std::uint16_t>(number);
  }
  out.host = std::string(host);
  for (char& c : out.host)
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c + 32);
  return out;
}

/// Whether a host name is `localhost` or below it (RFC 6761, 6.3); those never need DNS.
[[nodiscard]] inline bool is_localhost_name(std::string_view host) noexcept {
  if (!host.empty() && host.back() == '.')
    host.remove_suffix(1);
  constexpr std::string_view name = "localhost";
  if (host.size() < name.size() || !iequals(host.substr(host.size() - name.size()), name))
    return false;
  return host.size() == name.size() || host[host.size() - name.size() - 1] == '.';
}

/// Whether a host is this machine's loopback interface: `localhost`, names below it, 127.0.0.0/8
/// and ::1 (without brackets).
[[nodiscard]] inline bool is_loopback_host(std::string_view host) noexcept {
  if (is_localhost_name(host) || host == "::1")
    return true;
  if (host.substr(0, 4) != "127.")
    return false;
  int dots = 0;
  for (char const c : host) {
    if (c == '.')
      ++dots;
    else if (c < '0' || c > '9')
      return false;
  }
  return dots == 3;
}

}  // namespace hf::http

#endif
