#ifndef HF_SANDBOX_HTTP_TRANSPORT_TRAITS_HPP
#define HF_SANDBOX_HTTP_TRANSPORT_TRAITS_HPP

#include <string_view>

namespace hf {

/// Where a transport deviates from the rules of the concept, known at compile time; the conformance
/// suite reads it and the documentation prints it.
struct transport_traits {
  /// The name users know it by.
  std::string_view name = "custom";
  /// Requests over unix sockets work (else `errc::unsupported`).
  bool unix_sockets = true;
  /// TLS works (else `errc::unsupported`).
  bool tls = true;
  /// A stop request ends resolving and connecting within 100 ms (else at `connect_timeout`).
  bool cancels_while_connecting = true;
  /// Proxies work (else a request that has to go through one is `errc::unsupported`).
  bool proxies = true;
  /// Client certificates work (else `errc::unsupported`).
  bool client_certificates = true;
  /// Every 1xx head is swallowed (else only a bare 100; others are `errc::unsupported`).
  bool interim_answers = true;
  /// An answer is read while the request's body is still being sent (else only afterwards: a server
  /// that stops reading to refuse a body looks like a stall).
  bool answers_while_sending = true;
  /// What is not HTTP/1 is `errc::protocol_error` (else `errc::connection_lost`).
  bool recognises_malformed_answers = true;
  /// The head of an answer cannot fill the memory (else its size is not limited).
  bool bounded_heads = true;
  /// Fields of an answer arrive as they were sent (else empty ones may be missing, and percent
  /// signs are decoded).
  bool exact_fields = true;
  /// A chunked body that lacks only the empty line behind its last chunk is `connection_lost` (else
  /// it may count as whole).
  bool strict_last_chunk = true;
  /// A TLS body with neither length nor chunks that ends without TLS's closing alert is
  /// `connection_lost` (else it may count as whole).
  bool strict_tls_end = true;
  /// Trailers after a chunked body are skipped (else such an answer is `errc::connection_lost`).
  bool trailers = true;
};

/// The traits of a transport: its static member `traits` when it has one, else the defaults.
template <class T>
[[nodiscard]] constexpr transport_traits traits_of() noexcept {
  if constexpr (requires { transport_traits(T::traits); })
    return T::traits;
  else
    return {};
}

}  // namespace hf

#endif
