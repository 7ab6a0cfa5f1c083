#ifndef HF_SANDBOX_AGENT_ENDPOINT_HPP
#define HF_SANDBOX_AGENT_ENDPOINT_HPP

#include <hf/sandbox/http/headers.hpp>
#include <hf/sandbox/http/request.hpp>

#include <string>

namespace hf {

/// Everything that is needed to reach one agent.
struct endpoint {
  /// Base URL without a trailing slash, for instance "http://localhost" or a Jobs proxy URL.
  std::string url = {};
  /// Fields that every request carries: the agent's token and what a proxy on the way wants.
  http::headers headers = {};
  /// Path of a unix socket; empty: TCP as the URL says.
  std::string unix_socket = {};
  /// TLS settings for this endpoint; empty fields: the transport's own.
  http::tls_settings tls = {};
};

}  // namespace hf

#endif
