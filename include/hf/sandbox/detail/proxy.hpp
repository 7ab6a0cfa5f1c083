#ifndef HF_SANDBOX_DETAIL_PROXY_HPP
#define HF_SANDBOX_DETAIL_PROXY_HPP

#include <hf/sandbox/detail/parse_number.hpp>
#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/url.hpp>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace hf::detail {

/// A dotted IPv4 address as a number; nothing for anything else.
template <class = void>
[[nodiscard]] std::optional<std::uint32_t> parse_ipv4(std::string_view text) {
  std::uint32_t address = 0;
  for (int part = 0; part < 4; ++part) {
    auto const dot = text.find('.');
    if ((part < 3) != (dot != std::string_view::npos))
      return std::nullopt;
    auto const value = parse_number(text.substr(0, dot), 255);
    if (!value)
      return std::nullopt;
    address = address << 8 | static_cast<std::uint32_t>(*value);
    if (part < 3)
      text.remove_prefix(dot + 1);
  }
  return address;
}

/// Whether one entry of `no_proxy` covers a host: "*", a name (and all below it), an address, or an
/// IPv4 network such as 10.0.0.0/8.
template <class = void>
[[nodiscard]] bool no_proxy_entry_matches(std::string_view entry, std::string_view host) {
  if (entry == "*")
    return true;
  if (auto const slash = entry.find('/'); slash != std::string_view::npos) {
    auto const network = parse_ipv4(entry.substr(0, slash));
    auto const address = parse_ipv4(host);
    auto const bits = parse_number(entry.substr(slash + 1), 32);
    if (!network || !address || !bits)
      return false;
    return *bits == 0 || (*network >> (32 - *bits)) == (*address >> (32 - *bits));
  }
  if (entry.size() > 1 && entry.front() == '[' && entry.back() == ']')
    entry = entry.substr(1, entry.size() - 2);
  while (!entry.empty() && entry.front() == '.')
    entry.remove_prefix(1);
  if (!entry.empty() && entry.back() == '.')
    entry.remove_suffix(1);
  if (!host.empty() && host.back() == '.')
    host.remove_suffix(1);
  if (entry.empty() || entry.size() > host.size())
    return false;
  if (!http::iequals(host.substr(host.size() - entry.size()), entry))
    return false;
  return host.size() == entry.size() || host[host.size() - entry.size() - 1] == '.';
}

/// Whether a `no_proxy` list (separated by commas or blanks) covers a host.
template <class = void>
[[nodiscard]] bool no_proxy_matches(std::string_view list, std::string_view host) {
  while (!list.empty()) {
    auto const end = list.find_first_of(", \t");
    auto const entry = list.substr(0, end);
    if (!entry.empty() && no_proxy_entry_matches(entry, host))
      return true;
    if (end == std::string_view::npos)
      break;
    list.remove_prefix(end + 1);
  }
  return false;
}

/// The proxy for a URL: `configured` when given (empty: none), else what the environment says;
/// empty for a direct connection, and always for the loopback interface.
///
/// Read in this order, the first that is set counting: http_proxy (for http), https_proxy and
/// HTTPS_PROXY (for https), all_proxy, ALL_PROXY; no_proxy, NO_PROXY. HTTP_PROXY is not read: a CGI
/// program gets it from whoever sends a `Proxy` field.
template <class = void>
[[nodiscard]] std::string proxy_for(http::url const& target,
                                    std::optional<std::string> const& configured) {
  if (http::is_loopback_host(target.host))
    return {};
  if (configured)
    return *configured;
  auto const first = [](auto const... names) {
    std::string_view value;
    auto const look = [&](char const* name) {
      char const* const found = value.empty() ? std::getenv(name) : nullptr;
      if (found != nullptr)
        value = found;
    };
    (look(names), ...);
    return value;
  };
  auto const proxy = target.tls() ? first("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
                                  : first("http_proxy", "all_proxy", "ALL_PROXY");
  if (proxy.empty() || no_proxy_matches(first("no_proxy", "NO_PROXY"), target.host))
    return {};
  return std::string(proxy);
}

}  // namespace hf::detail

#endif
