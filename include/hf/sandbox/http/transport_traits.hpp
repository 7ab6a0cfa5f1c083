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
  /// The proxy variables of the environment are honoured (else connections are direct).
  bool proxies = true;
  /// Client certificates work (else `errc::unsupported`).
  bool client_certificates = true;
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
