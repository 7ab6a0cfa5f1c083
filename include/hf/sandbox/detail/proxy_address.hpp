#ifndef HF_SANDBOX_DETAIL_PROXY_ADDRESS_HPP
#define HF_SANDBOX_DETAIL_PROXY_ADDRESS_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/url.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace hf::detail {

/// An HTTP proxy, for transports that speak to it themselves.
struct proxy_address {
  std::string host = {};
  std::uint16_t port = 0;
  std::string user = {};
  std::string password = {};

  [[nodiscard]] bool present() const noexcept { return !host.empty(); }
  /// Value of `Proxy-Authorization`; empty when the proxy's URL holds no credentials.
  [[nodiscard]] std::string authorization() const {
    return user.empty() ? std::string() : "Basic " + base64_encode(user + ":" + password);
  }
};

/// Splits "http://user:password@host:port"; without a scheme it is http, without a port 1080, as
/// libcurl has it. Other schemes are `errc::unsupported`. An empty text gives no proxy.
template <class = void>
[[nodiscard]] proxy_address parse_proxy(std::string_view text) {
  proxy_address out;
  if (text.empty())
    return out;
  if (auto const scheme = text.find("://"); scheme != std::string_view::npos) {
    if (!http::iequals(text.substr(0, scheme), "http"))
      throw error(errc::unsupported,
                  "proxies other than http:// are not supported by this transport");
    text.remove_prefix(scheme + 3);
  }
  text = text.substr(0, text.find('/'));
  if (auto const at = text.rfind('@'); at != std::string_view::npos) {
    auto const credentials = text.substr(0, at);
    auto const colon = credentials.find(':');
    out.user = http::decode_component(credentials.substr(0, colon));
    if (colon != std::string_view::npos)
      out.password = http::decode_component(credentials.substr(colon + 1));
    text.remove_prefix(at + 1);
  }
  auto const bracket = text.rfind(']');
  auto const colon = text.rfind(':');
  bool const has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  auto const split = http::parse_url("http://" + std::string(text));
  out.host = split.host;
  out.port = has_port ? split.port : std::uint16_t{1080};
  return out;
}

}  // namespace hf::detail

#endif
