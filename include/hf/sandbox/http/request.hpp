#ifndef HF_SANDBOX_HTTP_REQUEST_HPP
#define HF_SANDBOX_HTTP_REQUEST_HPP

#include <hf/sandbox/detail/stop_token.hpp>
#include <hf/sandbox/http/body.hpp>
#include <hf/sandbox/http/headers.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace hf::http {

/// What TLS trusts and shows; an empty field leaves it to the transport's own settings, and those
/// to the system's defaults. The peer's certificate and host name are always verified.
struct tls_settings {
  /// PEM file with the certification authorities to trust.
  std::string ca_file = {};
  /// Directory of hashed PEM files with certification authorities.
  std::string ca_path = {};
  /// PEM file with the client's certificate, where the server asks for one.
  std::string cert_file = {};
  /// PEM file with the client certificate's private key.
  std::string key_file = {};

  /// Compares all settings.
  friend bool operator==(tls_settings const&, tls_settings const&) = default;
};

/// One HTTP request as a value.
struct request {
  /// The method, an HTTP token, sent as it is written.
  std::string method = "GET";
  /// Absolute `http://` or `https://` URL; characters outside of RFC 3986 must be encoded already.
  std::string url = {};
  /// Fields to send. `Host` and `Content-Length` are the transport's business.
  headers fields = {};
  /// The body; its `Content-Length` is sent.
  http::body body = {};
  /// Path of a unix socket to connect to in place of the URL's host and port; empty: TCP.
  std::string unix_socket = {};
  /// Requests share kept-alive connections only with requests of the same group. The calls to an
  /// agent have one of their own ("agent"): behind an agent of the common protocol a connection
  /// that asked for a server inside belongs to that server from then on.
  std::string connection_group = {};
  /// Longest time for resolving, connecting and the TLS handshake together.
  std::chrono::milliseconds connect_timeout{10'000};
  /// Longest silence: no byte moved in either direction.
  std::chrono::milliseconds stall_timeout{60'000};
  /// Point in time by which the call has to be over; nothing: no total limit.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  /// Cancels the call from another thread (`errc::cancelled`).
  stop_token stop = {};
  /// TLS settings of this request, over those of the transport.
  tls_settings tls = {};
};

}  // namespace hf::http

#endif
