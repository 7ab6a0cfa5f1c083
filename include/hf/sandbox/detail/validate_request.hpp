#ifndef HF_SANDBOX_DETAIL_VALIDATE_REQUEST_HPP
#define HF_SANDBOX_DETAIL_VALIDATE_REQUEST_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace hf::detail {

/// Whether a text is a token (RFC 9110, 5.6.2): what methods and field names are made of.
[[nodiscard]] constexpr bool is_http_token(std::string_view text) noexcept {
  for (char const c : text) {
    bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    if (!plain)
      return false;
  }
  return !text.empty();
}

/// The checks that every transport makes before it touches the network (rule 12). Returns the split
/// URL; throws `errc::invalid_argument` otherwise. Values of fields never appear in the message.
template <class = void>
[[nodiscard]] http::url validate_request(http::request const& rq) {
  auto const refuse = [](std::string const& what) {
    throw error(errc::invalid_argument, "the HTTP request cannot be sent: " + what);
  };
  if (!is_http_token(rq.method))
    refuse("the method is not a token");
  if (rq.method == "CONNECT")
    refuse("CONNECT is not for requests");
  auto target = http::parse_url(rq.url);
  for (auto const& field : rq.fields) {
    if (!is_http_token(field.name))
      refuse("a field's name is not a token");
    if (field.value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos)
      refuse("the value of " + field.name + " holds CR, LF or NUL");
    for (std::string_view const own : {"Host", "Content-Length", "Transfer-Encoding", "Expect"})
      if (http::iequals(field.name, own))
        refuse(field.name + " is set by the transport");
  }
  if (rq.unix_socket.find('\0') != std::string::npos)
    refuse("the socket's path holds NUL");
  // The room in a socket address (unix(7)); a longer path can be opened as /proc/self/fd/N.
  if (rq.unix_socket.size() > 107)
    refuse("the socket's path is longer than 107 bytes");
  for (auto const* path : {&rq.tls.ca_file, &rq.tls.ca_path, &rq.tls.cert_file, &rq.tls.key_file})
    if (path->find('\0') != std::string::npos)
      refuse("a path of the TLS settings holds NUL");
  return target;
}

/// Refuses to start what is over already: `errc::cancelled`, `errc::request_timed_out`.
template <class = void>
void check_not_over(http::request const& rq) {
  if (rq.stop.stop_requested())
    throw error(errc::cancelled, "the request was cancelled before it was sent");
  if (rq.deadline && *rq.deadline <= std::chrono::steady_clock::now())
    throw error(errc::request_timed_out, "the request's deadline had passed before it was sent");
}

/// Whether a request without a body says `Content-Length: 0` (RFC 9110, 8.6).
template <class = void>
[[nodiscard]] bool announces_empty_body(http::request const& rq) noexcept {
  return !rq.body.present() && (rq.method == "POST" || rq.method == "PUT" || rq.method == "PATCH");
}

}  // namespace hf::detail

#endif
