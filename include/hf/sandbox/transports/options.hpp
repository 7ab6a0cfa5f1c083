#ifndef HF_SANDBOX_TRANSPORTS_OPTIONS_HPP
#define HF_SANDBOX_TRANSPORTS_OPTIONS_HPP

#include <hf/sandbox/http/request.hpp>

#include <cstddef>
#include <optional>
#include <string>

namespace hf {

/// Settings that every transport of this library takes; the defaults are right for most programs.
struct transport_options {
  /// What TLS trusts and shows, unless a request says otherwise; empty fields: the system's
  /// certification authorities and no client certificate.
  http::tls_settings tls = {};
  /// `User-Agent` of requests that bring none; empty: no such field is sent.
  std::string user_agent = {};
  /// Connections that are kept open while nobody uses them; 0 closes each after its request.
  std::size_t max_idle_connections = 64;
  /// Proxy URL ("http://host:port"); an empty text: always direct; nothing: the environment's proxy
  /// variables. Loopback hosts and unix sockets are always reached directly.
  std::optional<std::string> proxy = {};
};

}  // namespace hf

#endif
